"""Commands that set a fleet up: `init`, `enroll`, `renew`, `revoke`, `certificates`, `broker-config`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veil.errors import UsageError
from veil_fleet.broker import BROKER, IDENTITIES, BrokerSettings

if TYPE_CHECKING:
    from veil.audit.note import VerifierKey
    from veil_fleet.enrol import Enrolment
    from veil_fleet.settings import FleetSettings

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="fleet.toml; unset: VEIL_FLEET_CONFIG or /etc/veil-fleet/fleet.toml."
    ),
]
CsrOption = Annotated[
    Path | None, typer.Option(help="Certificate request (PEM) that the box made: its key stays there.")
]
OutOption = Annotated[
    Path | None, typer.Option(help="New folder, or .tar file, for what the box needs; holds its key.")
]
Port = Annotated[int, typer.Option(min=1, max=65535)]
MAX_SITE = 64


def register(app: typer.Typer) -> None:
    """Adds the commands to `veil-fleet`."""
    app.command("init")(init)
    app.command("enroll")(enroll)
    app.command("renew")(renew)
    app.command("revoke")(revoke)
    app.command("certificates")(certificates)
    app.command("broker-config")(broker_config)


def init(
    folder: Annotated[Path, typer.Argument(help="Folder for keys, certificates and data.")],
    host: Annotated[
        list[str], typer.Option(help="Name or address of the broker; the first is what boxes use.")
    ],
    port: Port = 8883,
    fleet_port: Port = 8884,
) -> None:
    """Set a fleet up: authorities, certificates of broker and fleet manager, signing keys, fleet.toml."""
    if port == fleet_port:
        raise UsageError("Boxes and fleet manager need two ports.", hint="Give another --fleet-port.")
    from veil.audit.note import COSIGNATURE_V1
    from veil_fleet.enrol import Enrolment, Site
    from veil_fleet.keyfile import read_key

    made = Enrolment.create(folder, Site(tuple(host), port, fleet_port))
    print(f"{folder}: a fleet whose broker is {host[0]}, port {port}.")
    print("Keep its .key files secret, and a backup of it.")
    print(f"Receipts are signed by  {read_key(made.witness_file, COSIGNATURE_V1).verifier}")
    print(f"Commands are signed by  {_command(made)}")
    print(
        f"Next: veil-fleet broker-config {folder}; export VEIL_FLEET_CONFIG={folder.resolve() / 'fleet.toml'}"
    )


def enroll(
    device: Annotated[str, typer.Argument(help="Name of the box: lower-case letters, digits, - and _.")],
    site: Annotated[str | None, typer.Option(help="Where it stands, free text.")] = None,
    out: OutOption = None,
    csr: CsrOption = None,
    log_key: Annotated[
        str | None, typer.Option(help="Verifier key of the box's logs, to hold it to from the first line.")
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="The box is known: another certificate.")] = False,
    config: ConfigOption = None,
) -> None:
    """Make a box's certificate, and all that it needs to connect."""
    from veil_fleet.settings import load_settings

    _issue(load_settings(config), device, site, out, csr, log_key, known=renew)


def renew(
    name: Annotated[str, typer.Argument(help=f"A box, {BROKER}, or {', '.join(IDENTITIES)}.")],
    out: OutOption = None,
    csr: CsrOption = None,
    config: ConfigOption = None,
) -> None:
    """Make another certificate; the one before holds until it ends, or until `revoke NAME --superseded`."""
    from veil_fleet.enrol import Enrolment
    from veil_fleet.settings import load_settings

    settings = load_settings(config)
    if name != BROKER and name not in IDENTITIES:
        _issue(settings, name, None, out, csr, None, known=True)
        return
    if out or csr:
        raise UsageError(f"{name} is renewed in the fleet's folder.", hint="Leave --out and --csr away.")
    fleet = Enrolment.open(settings.folder)
    fleet.renew_identity(name)
    print(f"{fleet.folder / name}.pem and .key are new.")
    if name == BROKER:
        print(f"Next: veil-fleet broker-config {fleet.folder}, copy, restart the broker.")


def revoke(
    name: Annotated[str, typer.Argument(help="A box, or an identity of the fleet manager.")],
    superseded: Annotated[bool, typer.Option("--superseded", help="Only those that were renewed.")] = False,
    config: ConfigOption = None,
) -> None:
    """End certificates: the broker refuses them once it has the new lists."""
    from veil_fleet import device_rows
    from veil_fleet.enrol import Enrolment
    from veil_fleet.settings import load_settings

    settings = load_settings(config)
    fleet = Enrolment.open(settings.folder)
    if superseded:
        count = fleet.revoke_superseded(name)
    else:
        # First the list, then the page: what cannot be undone must not wait for a database.
        count = fleet.revoke(name)
        with device_rows.changing(settings) as connection:
            device_rows.revoked(connection, name)
    print(f"{count} certificate{'' if count == 1 else 's'} of {name} revoked.")
    if (fleet.folder / "broker").is_dir():
        print(f"Next: copy {fleet.folder / 'broker'} to the broker, then: systemctl reload mosquitto")


def certificates(
    within: Annotated[
        int | None,
        typer.Option(help="Only those that hold and end in so many days; exit code 1 for any.", min=0),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """List certificates, the newest of each name last."""
    from veil_fleet.enrol import Enrolment
    from veil_fleet.settings import load_settings

    now = datetime.now(UTC)
    found = Enrolment.open(load_settings(config).folder).certificates()
    if within is not None:
        newest = {one.name: one for one in found}
        ends = now + timedelta(days=within)
        found = tuple(one for one in newest.values() if one.revoked is None and one.not_after < ends)
    for one in found:
        state = "revoked" if one.revoked else "expired" if one.not_after < now else "valid"
        print(f"{one.name:32}  {state:8} {one.not_after:%Y-%m-%d}  {one.serial}")
    if within is not None and found:
        raise typer.Exit(1)


def broker_config(
    folder: Annotated[Path, typer.Argument(help="The fleet's folder, as in init.")],
    at: Annotated[
        Path | None,
        typer.Option(help="Where the files will lie on the broker's machine; unset: where they are."),
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of the broker's database.")] = Path("/var/lib/mosquitto"),
    port: Annotated[int | None, typer.Option(help="For boxes; unset: as in init.", min=1, max=65535)] = None,
    fleet_port: Annotated[
        int | None, typer.Option(help="For the fleet manager; unset: as in init.", min=1, max=65535)
    ] = None,
    address: Annotated[str, typer.Option(help="Interface for boxes; unset: all.")] = "",
    fleet_address: Annotated[str, typer.Option(help="Interface for the fleet manager; unset: all.")] = "",
    boxes: Annotated[int, typer.Option(help="Boxes at most.", min=1, max=100_000)] = 10_000,
    autosave_s: Annotated[int, typer.Option(help="Seconds between writes of the database.", min=1)] = 15,
    memory_mib: Annotated[int, typer.Option(help="Memory of the broker at most.", min=64)] = 2048,
    home_assistant: Annotated[
        str, typer.Option(help="Prefix of discovery topics that boxes may write, such as homeassistant.")
    ] = "",
    user: Annotated[str, typer.Option(help="System account of the broker; unset: the package's own.")] = "",
) -> None:
    """Write mosquitto.conf, access lists, revocation lists and a systemd drop-in into FOLDER/broker."""
    from veil_fleet.enrol import Enrolment

    fleet = Enrolment.open(folder)
    before = fleet.site
    place = at if at is not None else (folder / "broker").resolve()
    settings = BrokerSettings(
        place,
        data,
        port or before.port,
        fleet_port or before.fleet_port,
        address,
        fleet_address,
        boxes,
        autosave_s,
        memory_mib,
        home_assistant,
        user,
    )
    target = fleet.write_broker(settings)
    print(
        f"{target}: for Mosquitto 2.0.11 or newer; boxes at {settings.port}, fleet at {settings.fleet_port}."
    )
    if settings.fleet_port != before.fleet_port:
        print(f"Set port = {settings.fleet_port} in [broker] of {folder / 'fleet.toml'}.")
    if settings.port != before.port:
        print(f"Boxes that are enrolled need port = {settings.port} in [fleet] of their configuration.")


def _issue(
    settings: FleetSettings,
    device: str,
    site: str | None,
    out: Path | None,
    csr: Path | None,
    log_key: str | None,
    *,
    known: bool,
) -> None:
    from veil_fleet import box_files, device_rows
    from veil_fleet.enrol import Enrolment
    from veil_fleet.witness_keys import witness_keys

    fleet = Enrolment.open(settings.folder)
    if site is not None and (len(site) > MAX_SITE or not site.isprintable()):
        raise UsageError(f"A site is one line of at most {MAX_SITE} characters.")
    pinned = device_rows.read_log_key(log_key, device) if log_key else None
    request = _read(csr) if csr else None
    if out is not None:
        box_files.check_out(out)
    keys = {"witness": witness_keys(settings), "commands": (_command(fleet),)}
    if not keys["witness"]:
        raise UsageError(
            f"There is no witness key {settings.witness_key_file}.",
            hint="A collector's first start makes it.",
        )
    with device_rows.changing(settings) as connection:
        if pinned is not None:
            device_rows.check_log_key(connection, device, pinned)
        made = fleet.renew(device, request) if known else fleet.enrol(device, request)
        device_rows.enrolled(connection, device, made.certificate, site=site, log_key=pinned)
        target = out or fleet.folder / "boxes" / f"{device}-{made.certificate.serial[:8]}"
        box_files.write(made, box_files.configuration(made, fleet.site, site or "", **keys), target)
    print(f"{target}: certificate of {device}, until {made.certificate.not_after:%Y-%m-%d}.")


def _command(fleet: Enrolment) -> VerifierKey:
    from veil.audit.note import ED25519
    from veil_fleet.keyfile import read_key

    return read_key(fleet.command_file, ED25519).verifier


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64 * 1024)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
