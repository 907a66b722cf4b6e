"""The packets that the range's scripts write are what their protocols say."""

import random
import struct

from hypothesis import given
from hypothesis import strategies as st

from nervure_simulations.ranges.benign import dns_query
from nervure_simulations.ranges.scripted import mqtt_connect, mqtt_publish

words = st.text(alphabet="abcdefgh-0123456789", min_size=1, max_size=60)


def _mqtt_body(packet: bytes) -> tuple[int, bytes]:
    """Take an MQTT packet apart: its first byte, and its body if the length says the truth."""
    length, shift, at = 0, 0, 1
    while True:
        byte = packet[at]
        length |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not byte & 0x80:
            break
    assert len(packet) == at + length
    return packet[0], packet[at:]


@given(words, words, words)
def test_mqtt_connect_carries_a_name_and_a_password(client: str, user: str, password: str) -> None:
    kind, body = _mqtt_body(mqtt_connect(client, user, password))
    assert kind == 0x10
    assert body[:10] == b"\x00\x04MQTT\x04\xc2\x00\x3c"
    rest, fields = body[10:], list[str]()
    while rest:
        size = int.from_bytes(rest[:2], "big")
        fields.append(rest[2 : 2 + size].decode())
        rest = rest[2 + size :]
    assert fields == [client, user, password]


@given(words, st.binary(max_size=20_000))
def test_mqtt_publish_of_any_size_says_its_length(topic: str, payload: bytes) -> None:
    kind, body = _mqtt_body(mqtt_publish(topic, payload))
    assert kind == 0x30
    assert body == len(topic).to_bytes(2, "big") + topic.encode() + payload


@given(st.lists(words, min_size=1, max_size=3), st.integers(min_value=0), st.sampled_from([1, 16, 28]))
def test_a_dns_query_asks_one_question(labels: list[str], seed: int, kind: int) -> None:
    query = dns_query(random.Random(seed), ".".join(labels), kind)
    _, flags, questions, answers, authority, additional = struct.unpack(">HHHHHH", query[:12])
    assert (flags, questions, answers, authority, additional) == (0x0100, 1, 0, 0, 0)
    rest, found = query[12:], list[str]()
    while rest[0]:
        found.append(rest[1 : 1 + rest[0]].decode())
        rest = rest[1 + rest[0] :]
    assert found == labels
    assert rest == b"\0" + struct.pack(">HH", kind, 1)
