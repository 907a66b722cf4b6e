"""Frames and contents: what goes in comes out, and what a peer could get wrong is refused by name."""

from __future__ import annotations

import contextlib
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nervure.v1 import session_pb2 as pb
from nervure.v1 import tasks_pb2
from nervure_core import codec
from nervure_core.events import EventBatch, EventKind, PayloadCodec
from nervure_core.latency import BUCKETS, LatencyHistogram
from nervure_core.messages import (
    Ack,
    AgentMessage,
    AgentStatus,
    Assignment,
    Credit,
    DeploymentReport,
    DeploymentState,
    Desired,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    HubMessage,
    Lost,
    Move,
    Refused,
    Running,
    TaskKind,
    TaskOrder,
    TaskPart,
    TaskResult,
    Welcome,
)
from nervure_core.tensors import TaskContent

text = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
u32 = st.integers(0, 2**32 - 1)
u62 = st.integers(0, 2**62)
streams = st.binary(min_size=16, max_size=16)
millis = st.integers(0, 10**8).map(lambda value: value / 1000)
runnings = st.builds(Running, text, u62, text)
histograms = st.lists(st.integers(0, 10**9), max_size=BUCKETS).map(LatencyHistogram.from_counts)
statuses = st.builds(
    AgentStatus, runnings, u62, u62, u62, u62, u62, u62, u62, histograms, u62, u62, st.floats(0, 1e9), text
)
batches = st.builds(
    EventBatch,
    streams,
    u62,
    st.integers(1, 65536),
    st.sampled_from(EventKind),
    st.sampled_from(PayloadCodec),
    st.binary(min_size=1, max_size=100),
)
parts = st.builds(TaskPart, names, st.integers(0, 511), st.binary(min_size=1, max_size=50))
agent_messages = st.one_of(
    batches,
    parts,
    st.builds(
        Hello,
        text,
        text,
        streams,
        u62,
        st.dictionaries(text, text, max_size=3),
        text,
        text,
        runnings,
        st.booleans(),
        u62,
        u32,
    ),
    st.builds(Heartbeat, st.integers(-(2**62), 2**62), statuses),
    st.builds(TaskResult, names, text, u32, st.booleans(), text, st.binary(max_size=50), st.integers(0, 512)),
    st.tuples(streams, u62, st.integers(1, 1000), text).map(lambda t: Lost(t[0], t[1], t[1] + t[2], t[3])),
    st.builds(DeploymentReport, text, u62, text, st.sampled_from(DeploymentState), text),
    st.builds(Goodbye, text),
)
hub_messages = st.one_of(
    parts,
    st.builds(Welcome, text, text, text, millis.filter(lambda s: s < 4e6), u62, u62, st.lists(text).map(tuple), u32),
    st.builds(Refused, text, text),
    st.builds(Ack, streams, u62),
    st.builds(Credit, u62),
    st.builds(HeartbeatAck, st.integers(-(2**62), 2**62)),
    st.builds(Desired, u62, st.lists(st.builds(Assignment, text, text, u62, text), max_size=16).map(tuple)),
    st.builds(
        TaskOrder,
        names,
        text,
        st.sampled_from(TaskKind),
        u32,
        millis.filter(lambda s: s < 4e6),
        st.binary(max_size=50),
        st.integers(0, 512),
    ),
    st.builds(Move, st.lists(text).map(tuple), millis.filter(lambda s: s < 4e6)),
)


def _comparable(message: AgentMessage | HubMessage) -> object:
    if isinstance(message, Heartbeat):
        status = message.status
        plain = [getattr(status, name) for name in AgentStatus.__slots__ if name != "latency"]
        return (message.sent_us, plain, status.latency.to_counts())
    return message


@given(agent_messages)
@settings(deadline=None)
def test_frames_of_agents_come_back(message: AgentMessage) -> None:
    frame = pb.AgentFrame.FromString(codec.encode_agent(message).SerializeToString())
    assert _comparable(codec.decode_agent(frame)) == _comparable(message)


@given(hub_messages)
@settings(deadline=None)
def test_frames_of_hubs_come_back(message: HubMessage) -> None:
    frame = pb.HubFrame.FromString(codec.encode_hub(message).SerializeToString())
    assert codec.decode_hub(frame) == message


@given(batches)
def test_records_of_batches_come_back(batch: EventBatch) -> None:
    assert codec.decode_batch(codec.encode_batch(batch)) == batch


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_anything_but_malformed(data: bytes) -> None:
    for decode in (codec.decode_batch, codec.decode_content):
        with contextlib.suppress(codec.MalformedFrame):
            decode(data)


STREAM = b"s" * 16
KIND, CODEC = pb.EVENT_KIND_FINDING, pb.PAYLOAD_CODEC_NONE
UNKNOWN = cast("pb.EventKind.ValueType", 77)

BAD_FRAMES = [
    pb.AgentFrame(),
    pb.AgentFrame(hello=pb.Hello(agent_id="a", stream_id=b"short")),
    pb.AgentFrame(events=pb.EventBatch(stream_id=STREAM, count=0, kind=KIND, codec=CODEC, payload=b"x")),
    pb.AgentFrame(events=pb.EventBatch(stream_id=STREAM, count=1, kind=UNKNOWN, codec=CODEC, payload=b"x")),
    pb.AgentFrame(events=pb.EventBatch(stream_id=STREAM, count=1, kind=KIND, codec=CODEC, payload=b"")),
    pb.AgentFrame(events=pb.EventBatch(stream_id=STREAM, count=1, kind=KIND, codec=CODEC, payload=b"x" * (800 * 1024))),
    pb.AgentFrame(
        events=pb.EventBatch(stream_id=STREAM, first_seq=2**64 - 1, count=9, kind=KIND, codec=CODEC, payload=b"x")
    ),
    pb.AgentFrame(lost=pb.Lost(stream_id=STREAM, from_seq=5, to_seq=5)),
    pb.AgentFrame(heartbeat=pb.Heartbeat(status=pb.AgentStatus(latency_counts=[1] * (BUCKETS + 1)))),
    pb.AgentFrame(heartbeat=pb.Heartbeat(status=pb.AgentStatus(uptime_s=float("nan")))),
    pb.AgentFrame(task_result=tasks_pb2.TaskResult(task_id="t", parts=10_000)),
    pb.AgentFrame(task_part=tasks_pb2.TaskPart(task_id="t", index=0, data=b"x" * (257 * 1024))),
    pb.AgentFrame(deployment=pb.DeploymentReport(name="n")),
]


@pytest.mark.parametrize("frame", BAD_FRAMES, ids=range(len(BAD_FRAMES)))
def test_frames_that_break_the_contract_are_malformed(frame: pb.AgentFrame) -> None:
    with pytest.raises(codec.MalformedFrame):
        codec.decode_agent(frame)


def test_frames_of_hubs_that_break_the_contract_are_malformed() -> None:
    for frame in (
        pb.HubFrame(),
        pb.HubFrame(ack=pb.Ack(stream_id=b"x")),
        pb.HubFrame(task_order=tasks_pb2.TaskOrder(task_id="t", message_type="dance")),
        pb.HubFrame(desired=pb.Desired(assignments=[pb.Assignment()] * 17)),
    ):
        with pytest.raises(codec.MalformedFrame):
            codec.decode_hub(frame)


arrays = hnp.arrays(
    st.sampled_from([np.dtype(name) for name in ("float32", "float64", "int64", "int8", "uint8", "bool", "float16")]),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4, min_side=0),
)
scalars = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
metrics = st.one_of(
    scalars, st.lists(st.integers(-(2**63), 2**63 - 1)), st.lists(st.floats(allow_nan=False), min_size=1)
)
settings_values = st.one_of(
    scalars, st.booleans(), text, st.binary(max_size=9), st.lists(text, min_size=1), st.lists(st.booleans(), min_size=1)
)
contents = st.builds(
    TaskContent,
    st.dictionaries(st.just("arrays"), st.dictionaries(text, arrays, max_size=3)),
    st.dictionaries(st.just("metrics"), st.dictionaries(text, metrics, max_size=3)),
    st.dictionaries(st.just("config"), st.dictionaries(text, settings_values, max_size=3)),
)


@given(contents)
@settings(deadline=None)
def test_contents_come_back_with_their_types(content: TaskContent) -> None:
    found = codec.decode_content(codec.encode_content(content))
    assert found.metrics == content.metrics
    assert found.configs == content.configs
    assert list(found.arrays) == list(content.arrays)
    for key, record in content.arrays.items():
        assert list(found.arrays[key]) == list(record)
        for name, array in record.items():
            np.testing.assert_array_equal(found.arrays[key][name], array)
            assert found.arrays[key][name].dtype == array.dtype


@pytest.mark.parametrize("size", [512 * 1024 + 1, 600 * 1024, 1024 * 1024])
def test_large_contents_travel_in_parts(size: int) -> None:
    content = bytes(index % 251 for index in range(1024)) * (size // 1024) + b"x" * (size % 1024)
    pieces = codec.split_content("task", content)
    assert all(len(piece.data) <= 256 * 1024 for piece in pieces)
    assert codec.join_parts(pieces, len(pieces)) == content
    for wrong in (pieces[:-1], pieces[::-1], pieces[:1] * len(pieces)):
        with pytest.raises(codec.MalformedFrame, match="in order"):
            codec.join_parts(wrong, len(pieces))


def test_contents_that_fit_a_frame_are_not_split() -> None:
    assert codec.split_content("task", b"x" * 512 * 1024) == []


def _tensor(**fields: object) -> bytes:
    good = tasks_pb2.RecordDict.FromString(codec.encode_content(TaskContent({"a": {"w": np.zeros(3, np.float32)}})))
    value = good.items[0].array_record.items[0].value
    for name, field in fields.items():
        if name == "shape":
            del value.shape[:]
            value.shape.extend(field)  # type: ignore[arg-type]  # the cases below hold the right types
        else:
            setattr(value, name, field)
    return good.SerializeToString()


@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": "object"},
        {"dtype": "float64"},
        {"shape": [3, 1]},
        {"shape": [-3]},
        {"shape": [2**30, 2**20]},
        {"data": b"\x93NUMPY"},
        {"data": b"x" * 200},
        {"stype": "torch"},
    ],
    ids=str,
)
def test_tensors_that_lie_are_malformed(fields: dict[str, object]) -> None:
    with pytest.raises(codec.MalformedFrame, match="'w'"):
        codec.decode_content(_tensor(**fields))
