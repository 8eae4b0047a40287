"""The folder that a fleet is run from: authorities, identities, and what the broker needs.

    ca.pem, ca.key             the fleet's own authority: the broker, collectors, operators, dashboards
    boxes-ca.pem, boxes-ca.key the authority of boxes
    broker.pem, broker.key     and the same for each name in `broker.IDENTITIES`
    certificates.jsonl         what was issued and revoked (see `registry`)
    witness.key, command.key   what boxes trust: receipts, and commands (see `keyfile`)
    fleet.toml                 settings of `veil-fleet serve` (see `settings`)
    site.json                  where the broker is reached
    broker/                    what `broker-config` wrote, to be copied to the broker

Private keys have mode 0600, the folder 0700.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from veil.audit.durable import replace_file
from veil.audit.note import COSIGNATURE_V1, ED25519
from veil.errors import UsageError, VeilError
from veil_fleet.broker import (
    BOX_ACL,
    BROKER,
    COLLECTOR,
    CONFIGURATION,
    DROP_IN,
    FLEET_ACL,
    IDENTITIES,
    RESERVED_PREFIX,
    BrokerSettings,
    box_acl,
    configuration,
    drop_in,
    fleet_acl,
)
from veil_fleet.keyfile import make_key
from veil_fleet.pki import Authority, Leaf, key_pem, new_key, read_request
from veil_fleet.registry import Issued, Issuer, Registry

_DEVICE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?|::1?")


@dataclass(frozen=True, slots=True)
class Site:
    """Where the broker is: boxes take the first of `hosts`, the others are names of it too.

    Attributes:
        home_assistant: as in `BrokerSettings`.
    """

    hosts: tuple[str, ...]
    port: int = 8883
    fleet_port: int = 8884
    home_assistant: str = ""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a box gets. `key` is None where the box made its own (a certificate request)."""

    device: str
    certificate: Leaf
    key: bytes | None
    ca: bytes


class Enrolment:
    """A fleet's folder. One process at a time changes it; others wait for it."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder = folder
        self.site = site
        self._registry = Registry(folder / "certificates.jsonl")

    @classmethod
    def create(cls, folder: Path, site: Site) -> Self:
        """Makes authorities and identities; what else is in the folder stays. Raises UsageError."""
        if not site.hosts:
            raise UsageError("The broker needs a name.", hint="Say --host NAME, as boxes will reach it.")
        for host in site.hosts:
            if not _HOST.fullmatch(host):
                raise UsageError(f"{host!r} is no host name or address.", hint="Without scheme and port.")
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is no folder.")
        if (folder / "site.json").exists():
            raise UsageError(
                f"{folder} is a fleet's folder already.",
                hint="A fleet is set up once; `veil-fleet renew` makes new certificates.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        for name, title in (("boxes-ca", "Veil boxes"), ("ca", "Veil fleet")):
            authority = Authority.create(title)
            _put(folder / f"{name}.key", authority.key_pem, 0o600)
            _put(folder / f"{name}.pem", authority.pem, 0o644)
        made = cls(folder, site)
        with made._locked():
            for name in (BROKER, *IDENTITIES):
                made._issue_identity(name)
            make_key(made.witness_file, f"veil-fleet/{site.hosts[0]}", COSIGNATURE_V1)
            make_key(made.command_file, f"veil-fleet/{site.hosts[0]}/command", ED25519)
            _put(folder / "fleet.toml", _settings(folder, site).encode(), 0o600)
            # Last: a folder without it is no fleet's, and init can be tried again.
            made._write_site()
        return made

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises UsageError where `folder` was not made by `create`."""
        try:
            read = json.loads((folder / "site.json").read_text())
            site = Site(
                tuple(map(str, read["hosts"])),
                int(read["port"]),
                int(read["fleet_port"]),
                str(read["home_assistant"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{folder} is no fleet's folder, or cannot be read: {type(error).__name__}.",
                hint="Make one with: veil-fleet init FOLDER --host NAME",
            ) from error
        return cls(folder, site)

    @property
    def witness_file(self) -> Path:
        """Key of the receipts; `veil-fleet serve` signs with it."""
        return self.folder / "witness.key"

    @property
    def command_file(self) -> Path:
        """Key of the commands."""
        return self.folder / "command.key"

    def enrol(self, device: str, request: bytes | None = None) -> Enrolled:
        """A certificate for a new box. Raises UsageError for names that cannot be, and for known ones."""
        check_device(device)
        with self._locked():
            if self._of(device):
                raise UsageError(
                    f"{device!r} is enrolled already.",
                    hint="For the same box say --renew (veil-fleet renew); a new box gets a name of its own.",
                )
            return self._issue_box(device, request)

    def renew(self, device: str, request: bytes | None = None) -> Enrolled:
        """Another certificate for a box that is known; those before hold on until they end or are revoked."""
        check_device(device)
        with self._locked():
            if not self._of(device):
                raise UsageError(f"{device!r} is not enrolled.", hint=f"veil-fleet enroll {device}")
            enrolled = self._issue_box(device, request)
            self._write_revocations()
            return enrolled

    def renew_identity(self, name: str) -> None:
        """New key and certificate for the broker or one of `IDENTITIES`, in the folder."""
        if name != BROKER and name not in IDENTITIES:
            raise UsageError(f"{name!r} is no identity.", hint=f"Known: {BROKER}, {', '.join(IDENTITIES)}.")
        with self._locked():
            self._issue_identity(name)
            self._write_revocations()

    def revoke(self, name: str) -> int:
        """Ends all certificates of a box or of an identity; how many. Raises UsageError for unknown ones."""
        return self._revoke(name, keep=0)

    def revoke_superseded(self, name: str) -> int:
        """Ends all certificates but the newest."""
        return self._revoke(name, keep=1)

    def certificates(self) -> tuple[Issued, ...]:
        """All that were issued, the oldest first."""
        return self._registry.read()

    def revoked(self, issuer: Issuer) -> tuple[str, ...]:
        """Names without any certificate that holds."""
        issued = [one for one in self.certificates() if one.issuer == issuer]
        holding = {one.name for one in issued if one.revoked is None}
        return tuple(sorted({one.name for one in issued} - holding))

    def write_broker(self, settings: BrokerSettings) -> Path:
        """Writes all that the broker needs into `broker/`; its ports are those of the site from then on."""
        with self._locked():
            self.site = replace(
                self.site,
                port=settings.port,
                fleet_port=settings.fleet_port,
                home_assistant=settings.home_assistant,
            )
            self._write_site()
            target = self.folder / "broker"
            target.mkdir(exist_ok=True)
            for name in ("ca.pem", "boxes-ca.pem", "broker.pem"):
                _put(target / name, (self.folder / name).read_bytes(), 0o644)
            _put(target / "broker.key", (self.folder / "broker.key").read_bytes(), 0o600)
            _put(target / CONFIGURATION, configuration(settings).encode(), 0o644)
            _put(target / DROP_IN, drop_in(settings).encode(), 0o644)
            self._write_revocations()
            return target

    def _revoke(self, name: str, *, keep: int) -> int:
        with self._locked():
            known = self._of(name)
            if not known:
                raise UsageError(f"{name!r} has no certificate.", hint="See: veil-fleet certificates")
            ending = [one for one in known[: len(known) - keep] if one.revoked is None]
            for one in ending:
                self._registry.revoked(one.serial)
            self._write_revocations()
            return len(ending)

    def _of(self, name: str) -> list[Issued]:
        return [one for one in self._registry.read() if one.name == name]

    def _authority(self, issuer: Issuer) -> Authority:
        stem = "boxes-ca" if issuer == "boxes" else "ca"
        try:
            return Authority.load(
                (self.folder / f"{stem}.pem").read_bytes(), (self.folder / f"{stem}.key").read_bytes()
            )
        except (OSError, ValueError, TypeError) as error:
            raise VeilError(
                f"The authority {stem}.pem, {stem}.key in {self.folder} cannot be used: "
                f"{type(error).__name__}.",
                hint="Restore both files from a backup.",
            ) from error

    def _issue_box(self, device: str, request: bytes | None) -> Enrolled:
        private = new_key() if request is None else None
        public = private.public_key() if private else read_request(request or b"", device)
        leaf = self._authority("boxes").issue_client(device, public)
        self._registry.issued(device, "boxes", leaf)
        ca = (self.folder / "ca.pem").read_bytes()
        return Enrolled(device, leaf, key_pem(private) if private else None, ca)

    def _issue_identity(self, name: str) -> None:
        key = new_key()
        authority = self._authority("fleet")
        if name == BROKER:
            leaf = authority.issue_server(self.site.hosts, key.public_key())
        else:
            leaf = authority.issue_client(name, key.public_key())
        self._registry.issued(name, "fleet", leaf)
        _put(self.folder / f"{name}.key", key_pem(key), 0o600)
        _put(self.folder / f"{name}.pem", leaf.pem, 0o644)

    def _write_revocations(self) -> None:
        """What a revocation changes at the broker; nothing before `broker-config` has run."""
        target = self.folder / "broker"
        if not target.is_dir():
            return
        certificates = self.certificates()
        for stem, issuer in (("boxes-crl", "boxes"), ("crl", "fleet")):
            ended = [(c.serial, c.revoked) for c in certificates if c.issuer == issuer and c.revoked]
            authority = self._authority("boxes" if issuer == "boxes" else "fleet")
            _put(target / f"{stem}.pem", authority.revocations(ended), 0o644)
        prefix = self.site.home_assistant
        boxes = box_acl(revoked=self.revoked("boxes"), home_assistant=prefix)
        _put(target / BOX_ACL, boxes.encode(), 0o644)
        fleet = fleet_acl(revoked=self.revoked("fleet"), home_assistant=prefix)
        _put(target / FLEET_ACL, fleet.encode(), 0o644)

    def _write_site(self) -> None:
        text = json.dumps(asdict(self.site), indent=2) + "\n"
        _put(self.folder / "site.json", text.encode(), 0o644)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def check_device(name: str) -> None:
    """Raises UsageError for what cannot be a box's name: it is a topic level, a folder and a user name."""
    if not _DEVICE.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot be a box's name.",
            hint="Use lower-case letters, digits, - and _: at most 32, the first a letter or digit.",
        )
    if name.startswith(RESERVED_PREFIX) or name == BROKER:
        raise UsageError(f"{name!r} is a name of the fleet manager.", hint="Give the box another one.")


def _put(path: Path, data: bytes, mode: int) -> None:
    """Writes a file that belongs to whom it belonged, or the folder: root changes what a service reads."""
    owner = (path if path.exists() else path.parent).stat()
    replace_file(path, data, mode)
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def _settings(folder: Path, site: Site) -> str:
    """fleet.toml: what the collector needs to reach the broker. Paths are relative to the folder."""
    return f"""\
folder = {json.dumps(str(folder.resolve()))}

[broker]
host = {json.dumps(site.hosts[0])}
port = {site.fleet_port}
ca = "ca.pem"
certificate = "{COLLECTOR}.pem"
key = "{COLLECTOR}.key"
"""
