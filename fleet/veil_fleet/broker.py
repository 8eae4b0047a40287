"""What Mosquitto (2.0.11 and newer) needs: its configuration, and who may say and hear what.

Two listeners. Boxes come in at one: a certificate of the boxes' authority says who they are, and the access
list knows nothing but `veil/<their own name>`. The fleet manager comes in at the other, with certificates of
an authority of its own. So whatever name a box's certificate had, it never is the fleet manager.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from veil.messages.topics import ROOT, TO_BOX, TO_FLEET, Kind, filter_of

MAX_PACKET_BYTES = 64 * 1024
FLEET_CONNECTIONS = 64
SPARE_CONNECTIONS = 64
"""Above the number of boxes: one that comes back before its old connection is given up needs a second one."""

BROKER = "broker"
COLLECTOR, OPERATOR, DASHBOARD = "fleet-collector", "fleet-operator", "fleet-dashboard"
IDENTITIES = (COLLECTOR, OPERATOR, DASHBOARD)
RESERVED_PREFIX = "fleet-"

CONFIGURATION, BOX_ACL, FLEET_ACL, DROP_IN = "mosquitto.conf", "acl-boxes", "acl-fleet", "systemd.conf"


def share_group(secret: bytes) -> str:
    """Name of the collectors' shared subscription, from a secret of theirs (the witness key's seed).

    Mosquitto's access list is not asked when a client joins a group, only when a message goes out: a box that
    knew the name could join, and what fell to its share would be dropped.
    """
    return f"veil-fleet-{hashlib.sha256(b'veil-share/v1' + secret).hexdigest()[:24]}"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How a broker is to run.

    Attributes:
        folder: where the files will lie on the broker's machine, absolute.
        data: folder of its database; the broker's user must own it.
        port, fleet_port: TCP, for boxes and for the fleet manager; of `address` and `fleet_address`
            (empty: all interfaces).
        boxes: how many boxes there are at most.
        autosave_s: seconds between two writes of the database: so much a kill or a power cut takes from it.
        memory_mib: of the broker at most; messages over it are refused, the broker stays.
        home_assistant: prefix of its discovery topics, where boxes may announce themselves; empty: nowhere.
        user: system account; empty for the package's own.
    """

    folder: Path
    data: Path
    port: int = 8883
    fleet_port: int = 8884
    address: str = ""
    fleet_address: str = ""
    boxes: int = 10_000
    autosave_s: int = 15
    memory_mib: int = 2048
    home_assistant: str = ""
    user: str = ""


def configuration(settings: BrokerSettings) -> str:
    """mosquitto.conf, complete: nothing is left to defaults that differ between versions."""
    common = f"""\
# Written by `veil-fleet broker-config`. Changes belong into its options: they are lost when it runs again.

# Access lists and anonymity are per listener: each one below has to say both, or nobody is let in.
per_listener_settings true

# Messages of Veil stay under 64 KiB; who sends more is disconnected before it is read.
max_packet_size {MAX_PACKET_BYTES}
# As many as a collector stores in one go.
max_inflight_messages 2000
# For one client that is away. What does not fit is lost here; a box sends it again until it has a receipt.
max_queued_messages 20000
max_queued_bytes {64 * 1024 * 1024}
queue_qos0_messages false
max_keepalive 60
memory_limit {settings.memory_mib * 1024 * 1024}
persistent_client_expiration 7d
set_tcp_nodelay true

persistence true
persistence_location {settings.data}/
persistence_file veil.db
autosave_interval {settings.autosave_s}
autosave_on_changes false
# A message is kept only as long as whoever sent it may say it.
check_retain_source true

# To the journal, without payloads.
log_dest stderr
log_type error
log_type warning
log_type notice
log_timestamp true
log_timestamp_format %Y-%m-%dT%H:%M:%S
connection_messages true
"""
    if settings.user:
        common += f"\nuser {settings.user}\n"
    boxes = _listener(
        settings,
        f"{settings.port} {settings.address}".strip(),
        authority="boxes-ca.pem",
        revoked="boxes-crl.pem",
        acl=BOX_ACL,
        connections=settings.boxes + SPARE_CONNECTIONS,
    )
    fleet = _listener(
        settings,
        f"{settings.fleet_port} {settings.fleet_address}".strip(),
        authority="ca.pem",
        revoked="crl.pem",
        acl=FLEET_ACL,
        connections=FLEET_CONNECTIONS,
    )
    return (
        f"{common}\n# Boxes.\n{boxes}"
        "# A session belongs to a certificate: no box can take another's by taking its client id.\n"
        "use_username_as_clientid true\n"
        f"\n# The fleet manager: collectors, several under one name, and dashboards.\n{fleet}"
    )


def _listener(
    settings: BrokerSettings, where: str, *, authority: str, revoked: str, acl: str, connections: int
) -> str:
    folder = settings.folder
    return f"""\
listener {where}
protocol mqtt
cafile {folder / authority}
certfile {folder / "broker.pem"}
keyfile {folder / "broker.key"}
# One list for the one authority above; a second authority would need its own list here too.
crlfile {folder / revoked}
require_certificate true
use_identity_as_username true
tls_version tlsv1.2
allow_anonymous false
allow_zero_length_clientid false
acl_file {folder / acl}
max_connections {connections}
"""


def box_acl(*, revoked: Iterable[str] = (), home_assistant: str = "") -> str:
    """The access list of the boxes' listener. `%u` is the common name of the certificate."""
    lines = ["# Written by `veil-fleet`. Read again on SIGHUP."]
    for name in sorted(revoked):
        # Reaches connections that are open already; the revocation list holds for new ones only.
        lines += ["", f"user {name}", "topic deny #"]
    lines += ["", *(f"pattern write {filter_of(kind, '%u')}" for kind in TO_FLEET)]
    lines += [f"pattern read {filter_of(kind, '%u')}" for kind in TO_BOX]
    if home_assistant:
        lines.append(f"pattern write {home_assistant}/+/%u/+/config")
    return "\n".join(lines) + "\n"


def fleet_acl(*, revoked: Iterable[str] = (), home_assistant: str = "") -> str:
    """The access list of the fleet manager's listener: nothing for whom is not named here."""
    seen = [filter_of(kind) for kind in (Kind.STATUS, Kind.HEALTH, Kind.CAMERA)]
    if home_assistant:
        seen.append(f"{home_assistant}/#")
    rights = {
        COLLECTOR: [
            f"read {ROOT}/#",
            *(f"write {filter_of(kind)}" for kind in (Kind.COSIGN, Kind.RESEND)),
        ],
        OPERATOR: [f"write {filter_of(Kind.COMMAND)}", f"read {filter_of(Kind.RESPONSE)}"],
        DASHBOARD: [f"read {one}" for one in seen],
    }
    lines = ["# Written by `veil-fleet`. Read again on SIGHUP."]
    for name in sorted(rights.keys() - set(revoked)):
        lines += ["", f"user {name}", *(f"topic {right}" for right in rights[name])]
    return "\n".join(lines) + "\n"


def drop_in(settings: BrokerSettings) -> str:
    """A drop-in for Debian's mosquitto.service (mosquitto.service.d/veil.conf)."""
    files = settings.boxes + SPARE_CONNECTIONS + FLEET_CONNECTIONS + 256
    return f"""\
# Install as /etc/systemd/system/mosquitto.service.d/veil.conf; then systemctl daemon-reload.
[Service]
ExecStart=
ExecStart=/usr/sbin/mosquitto -c {settings.folder / CONFIGURATION}
# One file a connection; the default of 1024 would be the end at about 1,000 boxes.
LimitNOFILE={files}
# Above memory_limit: the limit inside refuses one message, this one ends the broker.
MemoryMax={settings.memory_mib + 512}M
Restart=on-failure
RestartSec=1
NoNewPrivileges=true
ProtectSystem=full
ProtectHome=true
PrivateTmp=true
"""
