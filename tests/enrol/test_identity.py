"""Who is let in: certificates of every wrong kind, against a real broker."""

from __future__ import annotations

import socket
import ssl
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet_house import Broker, Credentials, write_credentials
from mqtt_client import NOT_AUTHORISED, Client, RefusedError
from veil_fleet.broker import COLLECTOR, DASHBOARD, OPERATOR
from veil_fleet.pki import Authority, key_pem, new_key

NOW = datetime.now(UTC)
TRICKY = [
    "+",
    "#",
    "box-b/status",
    "box-b/#",
    "../box-b",
    "BOX-B",
    "box-b ",
    " box-b",
    "box-b\x00",
    "%u",
    "box-é",
    COLLECTOR,
    OPERATOR,
]


def forged(
    broker: Broker, folder: Path, name: str, *, now: datetime | None = None, by: str = "boxes-ca"
) -> Credentials:
    """A certificate that enrolment would not make, of the fleet's own authorities."""
    source = broker.ca.folder
    authority = Authority.load((source / f"{by}.pem").read_bytes(), (source / f"{by}.key").read_bytes())
    return made_by(authority, broker, folder, name, now=now)


def made_by(
    authority: Authority, broker: Broker, folder: Path, name: str, *, now: datetime | None = None
) -> Credentials:
    key = new_key()
    leaf = authority.issue_client(name, key.public_key(), now=now)
    return write_credentials(folder, "forged", broker.ca.folder / "ca.pem", leaf.pem, key_pem(key))


Maker = Callable[[Broker, Path], Credentials]


def _other_authority(broker: Broker, folder: Path) -> Credentials:
    return made_by(Authority.create("Veil boxes"), broker, folder, "box-a")


def _self_signed(broker: Broker, folder: Path) -> Credentials:
    authority = Authority.create("box-a")
    return write_credentials(folder, "own", broker.ca.folder / "ca.pem", authority.pem, authority.key_pem)


def _expired(broker: Broker, folder: Path) -> Credentials:
    return forged(broker, folder, "box-a", now=NOW - timedelta(days=900))


def _not_yet(broker: Broker, folder: Path) -> Credentials:
    return forged(broker, folder, "box-a", now=NOW + timedelta(days=30))


def _of_the_fleet(broker: Broker, folder: Path) -> Credentials:
    return forged(broker, folder, "box-a", by="ca")


def _of_the_broker(broker: Broker, folder: Path) -> Credentials:
    source = broker.ca.folder
    return Credentials("broker", source / "ca.pem", source / "broker.pem", source / "broker.key")


def _of_the_collector(broker: Broker, folder: Path) -> Credentials:
    return broker.collector


@pytest.mark.parametrize(
    "make",
    [
        _other_authority,
        _self_signed,
        _expired,
        _not_yet,
        _of_the_fleet,
        _of_the_broker,
        _of_the_collector,
    ],
)
def test_boxes_come_in_with_a_certificate_that_holds_of_the_boxes_authority_only(
    broker: Broker, tmp_path: Path, make: Maker
) -> None:
    with pytest.raises(RefusedError), Client(broker, make(broker, tmp_path), port=broker.port):
        pass


@pytest.mark.parametrize("make", [_other_authority, _expired, _of_the_broker])
def test_the_fleet_comes_in_with_a_certificate_of_its_own_authority_only(
    broker: Broker, tmp_path: Path, make: Maker
) -> None:
    for credentials in (make(broker, tmp_path), broker.credentials("box-a")):
        with pytest.raises(RefusedError), Client(broker, credentials, port=broker.fleet_port):
            pass


def test_an_unknown_name_of_the_fleets_authority_may_do_nothing(broker: Broker, tmp_path: Path) -> None:
    credentials = forged(broker, tmp_path, "fleet-stranger", by="ca")
    with Client(broker, credentials, port=broker.fleet_port) as stranger:
        assert stranger.publish("veil/box-b/command") == NOT_AUTHORISED
        assert stranger.publish("veil/fleet-stranger/status") == NOT_AUTHORISED


@pytest.mark.parametrize("name", TRICKY)
def test_no_name_in_a_certificate_of_the_boxes_authority_reaches_another_box(
    broker: Broker, tmp_path: Path, name: str
) -> None:
    credentials = forged(broker, tmp_path, name)
    victim = broker.credentials("box-b")
    with Client(broker, victim) as box, Client(broker, broker.operator, client_id="orders") as operator:
        try:
            with Client(broker, credentials, port=broker.port) as thief:
                for topic in ("veil/#", "#", "veil/box-b/command", "$share/a/veil/#"):
                    thief.subscribe(topic)
                for topic in ("veil/box-b/status", "veil/box-b/log/front", "veil/box-b/cosign/front"):
                    assert thief.publish(topic) == NOT_AUTHORISED
                assert thief.publish("veil/box-b/command") == NOT_AUTHORISED
                box.publish("veil/box-b/status")
                box.subscribe("veil/box-b/command")
                operator.publish("veil/box-b/command", b"secret")
                box.wait_for("veil/box-b/command")
                # What is delivered goes out in the order of the clients' sockets: an answer comes later.
                thief.subscribe("veil/end")
                assert not thief.received
        except RefusedError:
            pass


def test_without_a_certificate_nobody_is_let_in(broker: Broker) -> None:
    context = ssl.create_default_context(cafile=str(broker.ca.folder / "ca.pem"))
    for port in (broker.port, broker.fleet_port):
        assert not _connects(broker, port, context)


def test_without_tls_nobody_is_let_in(broker: Broker) -> None:
    hello = bytes.fromhex("101300044d51545405020 03c00000661206e616d65".replace(" ", ""))
    for port in (broker.port, broker.fleet_port):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            plain.sendall(hello)
            # An alert of TLS (type 21) or the end, never a CONNACK (0x20).
            with suppress(ConnectionResetError):
                assert plain.recv(64)[:1] in {b"", b"\x15"}


def test_tls_older_than_1_2_is_refused(broker: Broker) -> None:
    credentials = broker.credentials("box-a")
    assert _connects(broker, broker.port, credentials.tls())
    old = credentials.tls()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert not _connects(broker, broker.port, old)


@pytest.mark.parametrize("who", ["box-a", COLLECTOR, DASHBOARD])
def test_a_box_does_not_take_anybody_for_the_broker_but_the_broker(broker: Broker, who: str) -> None:
    impostor = broker.credentials(who)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(impostor.certificate, impostor.key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                try:
                    server.wrap_socket(connection, server_side=True).close()
                except OSError:
                    return

        thread = threading.Thread(target=answer)
        thread.start()
        context = broker.credentials("box-b").tls()
        with (
            pytest.raises(ssl.SSLCertVerificationError),
            socket.create_connection(("127.0.0.1", listening.getsockname()[1]), timeout=5) as plain,
        ):
            context.wrap_socket(plain, server_hostname=broker.host)
        thread.join()


def test_a_broker_under_another_name_is_not_the_broker(broker: Broker) -> None:
    context = broker.credentials("box-a").tls()
    with (
        socket.create_connection(("127.0.0.1", broker.port), timeout=5) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname="broker.example")


def test_a_revoked_box_is_out_at_once_and_others_are_not(own_broker: Broker) -> None:
    gone, other = own_broker.credentials("gone"), own_broker.credentials("other")
    with (
        Client(own_broker, gone) as box,
        Client(own_broker, other) as neighbour,
        Client(own_broker, own_broker.operator, client_id="orders") as operator,
        Client(own_broker, own_broker.collector, client_id="hears") as collector,
    ):
        collector.subscribe("veil/#")
        box.subscribe("veil/gone/command")
        assert own_broker.ca.enrolment.revoke("gone") == 1
        own_broker.reload()
        # The connection that is open already has no rights any more,
        assert box.publish("veil/gone/status") == NOT_AUTHORISED
        operator.publish("veil/gone/command", b"secret")
        assert neighbour.publish("veil/other/status") in {0, 16}
        collector.wait_for("veil/other/status")
        assert not box.received
        assert not [one for one in collector.received if one.topic == "veil/gone/status"]
    # and there is no new one.
    with pytest.raises(RefusedError), Client(own_broker, gone):
        pass
    own_broker.restart()
    with pytest.raises(RefusedError), Client(own_broker, gone):
        pass
    with Client(own_broker, other) as neighbour:
        assert neighbour.publish("veil/other/status") in {0, 16}


def test_a_renewed_box_comes_in_with_both_until_the_old_one_is_revoked(own_broker: Broker) -> None:
    enrolment = own_broker.ca.enrolment
    old = own_broker.credentials("box-a")
    new = own_broker.ca.renewed("box-a")
    for credentials in (old, new):
        with Client(own_broker, credentials) as box:
            assert box.publish("veil/box-a/status") in {0, 16}
    assert enrolment.revoke_superseded("box-a") == 1
    own_broker.reload()
    with pytest.raises(RefusedError), Client(own_broker, old):
        pass
    with Client(own_broker, new) as box:
        assert box.publish("veil/box-a/status") in {0, 16}


def test_a_revoked_collector_is_out_until_it_is_renewed(own_broker: Broker) -> None:
    enrolment = own_broker.ca.enrolment
    with Client(own_broker, own_broker.collector) as collector:
        enrolment.revoke(COLLECTOR)
        own_broker.reload()
        assert collector.publish("veil/box-a/cosign/front") == NOT_AUTHORISED
    with pytest.raises(RefusedError), Client(own_broker, own_broker.collector):
        pass
    enrolment.renew_identity(COLLECTOR)
    own_broker.reload()
    with Client(own_broker, own_broker.collector) as collector:
        assert collector.publish("veil/box-a/cosign/front") in {0, 16}


def _connects(broker: Broker, port: int, context: ssl.SSLContext) -> bool:
    """Whether TLS comes about: with 1.3 a refusal of the client's certificate is heard at the first read."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=broker.host) as secured,
        ):
            secured.settimeout(0.5)
            try:
                return secured.recv(1) != b""
            except TimeoutError:
                return True
    except OSError:
        return False
