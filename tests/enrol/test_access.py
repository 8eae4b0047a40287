"""Who may say and hear what: every pair of identities and kinds of topic, against a real broker."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from fleet_house import MISSING, Broker, mosquitto_is_missing
from mqtt_client import NOT_AUTHORISED, Client
from veil.agent.home_assistant import discovery
from veil.audit.note import COSIGNATURE_V1
from veil.config_load import load_config
from veil.messages.topics import TO_BOX, TO_FLEET, Kind, Topic, filter_of
from veil_fleet.broker import COLLECTOR, DASHBOARD, IDENTITIES, OPERATOR, share_group
from veil_fleet.keyfile import read_key

ACCEPTED = {0, 16}
"""Success, and success without anybody who listens."""

_numbers = itertools.count(1)

SEES_ALL = (
    "#",
    "veil/#",
    "+/+/+",
    "+/+/+/+",
    "+/+/+/+/+",
    "$SYS/#",
    "$share/mine/veil/#",
    "$share/mine/#",
)


@pytest.fixture
def names() -> tuple[str, str]:
    """Two boxes that no other test uses."""
    number = next(_numbers)
    return f"box-{number}a", f"box-{number}b"


def topics_of(device: str, kinds: tuple[Kind, ...] = (*TO_FLEET, *TO_BOX)) -> list[str]:
    named = {Kind.CAMERA, Kind.LOG, Kind.CHECKPOINT, Kind.COSIGN, Kind.RESEND, Kind.RESPONSE}
    return [str(Topic(device, kind, "front" if kind in named else "")) for kind in kinds]


def beside(device: str) -> list[str]:
    """Topics that are nobody's."""
    return [
        f"veil/{device}",
        f"veil/{device}/",
        f"veil/{device}/other",
        f"veil/{device}/status/more",
        f"veil/{device}/log",
        f"veil/{device}/log/front/more",
        f"veil/{device}/camera/front",
        f"veil/{device}/camera/front/state/more",
        f"veil/{device}//status",
        "veil",
        "veil/status",
        f"/veil/{device}/status",
        f"Veil/{device}/status",
        f"other/{device}/status",
        f"homeassistant/sensor/{device}/config",
        "$SYS/broker/version",
        "$share/veil-fleet/veil/x",
    ]


def test_a_box_writes_its_own_topics_and_nothing_else(broker: Broker, names: tuple[str, str]) -> None:
    own, other = names
    refused = topics_of(other) + topics_of(own, TO_BOX) + beside(own) + topics_of(COLLECTOR)
    with Client(broker, broker.collector) as observer, Client(broker, broker.credentials(own)) as box:
        observer.subscribe("#")
        observer.subscribe("veil/#")
        for retain in (False, True):
            answers = {topic: box.publish(topic, b"intruder", retain=retain) for topic in refused}
            assert set(answers.values()) == {NOT_AUTHORISED}, answers
        for topic in topics_of(own, TO_FLEET):
            assert box.publish(topic, b"honest") in ACCEPTED, topic
        observer.wait_for(topics_of(own, TO_FLEET)[-1])
        heard = {(one.topic, one.payload) for one in observer.received if not one.retained}
        assert heard == {(topic, b"honest") for topic in topics_of(own, TO_FLEET)}


def test_a_box_hears_its_own_topics_and_nothing_else(broker: Broker, names: tuple[str, str]) -> None:
    own, other = names
    with (
        Client(broker, broker.collector, client_id="hears") as collector,
        Client(broker, broker.operator, client_id="hears-too") as operator,
        Client(broker, broker.credentials(other)) as victim,
        Client(broker, broker.credentials(own)) as box,
    ):
        for topic in topics_of(other, TO_FLEET):
            # What is retained goes out at the moment of the subscription, not of the message.
            victim.publish(topic, b"secret", retain=True)
        for wanted in (*SEES_ALL, *topics_of(other), *(f"$share/his/{one}" for one in topics_of(other))):
            box.subscribe(wanted)
        for topic in topics_of(own, TO_FLEET):
            box.publish(topic, b"own")
        for topic in topics_of(other, TO_FLEET):
            victim.publish(topic, b"secret")
        for device in (other, own):
            for topic in topics_of(device, TO_BOX):
                sender = operator if topic.endswith("/command") else collector
                assert sender.publish(topic, b"for " + device.encode()) in ACCEPTED
        box.wait_for(f"veil/{own}/command")
        box.wait_for(f"veil/{own}/resend/front")
        for one in box.received:
            assert one.topic in topics_of(own, TO_BOX)
            assert one.payload == b"for " + own.encode()
        assert {one.topic for one in box.received} == set(topics_of(own, TO_BOX))


@pytest.mark.parametrize(
    ("name", "writes"),
    [(COLLECTOR, (Kind.COSIGN, Kind.RESEND)), (OPERATOR, (Kind.COMMAND,)), (DASHBOARD, ())],
)
def test_an_identity_of_the_fleet_writes_what_it_must_and_nothing_else(
    broker: Broker, names: tuple[str, str], name: str, writes: tuple[Kind, ...]
) -> None:
    own, _ = names
    with Client(broker, broker.credentials(name), client_id="writes") as fleet:
        for kind in Kind:
            for device in (own, COLLECTOR, OPERATOR):
                (topic,) = topics_of(device, (kind,))
                code = fleet.publish(topic)
                assert code in ACCEPTED if kind in writes else code == NOT_AUTHORISED, topic
        assert {fleet.publish(topic) for topic in beside(own)} == {NOT_AUTHORISED}


@pytest.mark.parametrize(
    ("name", "hears"),
    [
        (COLLECTOR, (*TO_FLEET, *TO_BOX)),
        (OPERATOR, (Kind.RESPONSE,)),
        (DASHBOARD, (Kind.STATUS, Kind.HEALTH, Kind.CAMERA)),
    ],
)
def test_an_identity_of_the_fleet_hears_what_it_must_and_nothing_else(
    broker: Broker, names: tuple[str, str], name: str, hears: tuple[Kind, ...]
) -> None:
    own, _ = names
    with (
        Client(broker, broker.credentials(name), client_id="listens") as fleet,
        Client(broker, broker.collector, client_id="says") as collector,
        Client(broker, broker.operator, client_id="orders") as operator,
        Client(broker, broker.credentials(own)) as box,
    ):
        for wanted in SEES_ALL:
            fleet.subscribe(wanted)
        for topic in topics_of(own, TO_BOX):
            (operator if topic.endswith("/command") else collector).publish(topic)
        for topic in topics_of(own, TO_FLEET):
            box.publish(topic)
        wanted_topics = set(topics_of(own, hears))
        # All that comes to one client comes in order: behind this one there is nothing more of the above.
        box.publish(topics_of(own, tuple(kind for kind in hears if kind in TO_FLEET))[0], b"end")
        fleet.wait_until(lambda: any(one.payload == b"end" for one in fleet.received), "the last message")
        heard = {one.topic for one in fleet.received if not one.retained and not one.topic.startswith("$")}
        assert {one for one in heard if f"/{own}/" in one} == wanted_topics
        assert not [one for one in fleet.received if one.topic.startswith("$SYS")]


@pytest.mark.parametrize("will", ["status", "log/front", "command", "keys"])
def test_a_will_on_another_boxs_topic_is_never_said(
    broker: Broker, names: tuple[str, str], will: str
) -> None:
    own, other = names
    with Client(broker, broker.collector, client_id="heir") as observer:
        observer.subscribe("veil/#")
        for device, payload in ((other, b"forged"), (own, b"honest")):
            topic = f"veil/{device}/{'status' if device == own else will}"
            Client(broker, broker.credentials(own), will=(topic, payload)).__enter__().vanish()
        observer.wait_for(f"veil/{own}/status")
        assert b"forged" not in {one.payload for one in observer.received}
    with Client(broker, broker.collector, client_id="later") as later:
        later.subscribe("veil/#")
        assert later.wait_for(f"veil/{own}/status").retained
        assert b"forged" not in {one.payload for one in later.received}


def test_a_box_with_anothers_client_id_gets_neither_its_connection_nor_its_queue(
    broker: Broker, names: tuple[str, str]
) -> None:
    own, other = names
    command = f"veil/{own}/command"
    with Client(broker, broker.credentials(own), client_id=own, keep_session=True) as box:
        box.subscribe(command)
        with Client(broker, broker.credentials(other), client_id=own, keep_session=True):
            assert not box.closed
    with Client(broker, broker.operator, client_id="orders") as operator:
        operator.publish(command, b"secret")
    with Client(broker, broker.credentials(other), client_id=own, keep_session=True) as thief:
        thief.subscribe(f"veil/{other}/command")
        with Client(broker, broker.operator, client_id="orders") as operator:
            operator.publish(f"veil/{other}/command", b"yours")
        thief.wait_for(f"veil/{other}/command")
        assert {one.payload for one in thief.received} == {b"yours"}
    with Client(broker, broker.credentials(own), client_id="whatever", keep_session=True) as box:
        assert box.wait_for(command).payload == b"secret"


def test_a_box_with_a_collectors_client_id_does_not_throw_the_collector_out(
    broker: Broker, names: tuple[str, str]
) -> None:
    own, _ = names
    with Client(broker, broker.collector, client_id="collector-1", keep_session=True) as collector:
        collector.subscribe(filter_of(Kind.STATUS))
        with Client(broker, broker.credentials(own), client_id="collector-1", keep_session=True) as box:
            assert box.publish(f"veil/{own}/status", b"still here") in ACCEPTED
        assert collector.wait_for(f"veil/{own}/status").payload == b"still here"
        assert not collector.closed


def test_a_box_that_joins_shared_subscriptions_takes_nothing_from_collectors(
    broker: Broker, names: tuple[str, str]
) -> None:
    own, other = names
    group = share_group(read_key(broker.ca.enrolment.witness_file, COSIGNATURE_V1).seed)
    assert group.startswith("veil-fleet-")
    wanted = filter_of(Kind.LOG)
    with (
        Client(broker, broker.collector, client_id="first") as first,
        Client(broker, broker.collector, client_id="second") as second,
        Client(broker, broker.credentials(own)) as thief,
        Client(broker, broker.credentials(other)) as box,
    ):
        for collector in (first, second):
            collector.subscribe(f"$share/{group}/{wanted}")
        for guess in ("veil-fleet", "fleet-collector", "veil-fleet-"):
            thief.subscribe(f"$share/{guess}/{wanted}")
        for number in range(20):
            box.publish(f"veil/{other}/log/front", b"%d" % number)
        first.subscribe(filter_of(Kind.STATUS))
        box.publish(f"veil/{other}/status")
        first.wait_for(f"veil/{other}/status")
        heard = [one for one in (*first.received, *second.received) if one.topic == f"veil/{other}/log/front"]
        assert {one.payload for one in heard} == {b"%d" % number for number in range(20)}
        assert len(heard) == 20
        assert first.received
        assert second.received
        assert not thief.received


def test_where_it_is_allowed_boxes_announce_themselves_to_home_assistant_and_nobody_else(
    tmp_path: Path,
) -> None:
    if mosquitto_is_missing():
        pytest.skip(MISSING)
    written = tmp_path / "veil.toml"
    written.write_text(
        '[box]\nname = "box-a"\n[agent]\nhome_assistant = true\n'
        '[camera.front]\nsource = "rtsp://camera.example/1"\n'
    )
    config = load_config(written, {})
    announced = discovery(config)
    assert announced
    with (
        Broker(tmp_path, settings={"home_assistant": config.agent.home_assistant_prefix}) as own,
        Client(own, own.credentials(DASHBOARD)) as home,
        Client(own, own.credentials("box-a")) as box,
        Client(own, own.credentials("box-b")) as other,
    ):
        other.subscribe("homeassistant/#")
        for topic, payload in announced:
            assert other.publish(topic, payload, retain=True) == NOT_AUTHORISED
            assert box.publish(topic, payload, retain=True) in ACCEPTED
        home.subscribe("homeassistant/#")
        for topic, payload in announced:
            assert home.wait_for(topic).payload == payload
        assert not other.received


def test_no_two_installations_share_a_group(broker: Broker) -> None:
    seeds = (bytes([number]) * 32 for number in range(50))
    assert len({share_group(seed) for seed in seeds}) == 50
    assert len(IDENTITIES) == len(set(IDENTITIES))
