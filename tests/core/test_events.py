"""Events as Arrow: readable by others, bounded when read."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nervure_core import events as ev
from nervure_core.zstd import compress

float32 = st.floats(width=32, allow_nan=False)
int64 = st.integers(-(2**63), 2**63 - 1)
text = st.text(st.characters(codec="utf-8"), max_size=30)
some_events = st.lists(
    st.builds(ev.Event, int64, text, text, text, float32, text, text, int64, float32, text), min_size=1, max_size=20
)


@given(some_events, st.sampled_from(ev.PayloadCodec))
@settings(deadline=None)
def test_events_come_back(found: list[ev.Event], codec: ev.PayloadCodec) -> None:
    batch = ev.pack_events(b"s" * 16, 7, ev.EventKind.FINDING, found, codec)
    assert (batch.first_seq, batch.end_seq) == (7, 7 + len(found))
    assert ev.decode_events(ev.unpack_payload(batch)) == found


@given(some_events)
@settings(max_examples=20, deadline=None)
def test_another_arrow_implementation_reads_the_same(found: list[ev.Event]) -> None:
    table = pa.ipc.open_stream(ev.encode_events(found)).read_all()
    table.validate(full=True)
    assert tuple(table.column_names) == ev.COLUMNS
    assert [ev.Event(**row) for row in table.to_pylist()] == found


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise_anything_but_bad_payload(data: bytes) -> None:
    batch = ev.EventBatch(b"s" * 16, 0, 1, ev.EventKind.FINDING, ev.PayloadCodec.ZSTD, data)
    with pytest.raises(ev.BadPayload):
        ev.decode_events(ev.unpack_payload(batch))


def test_a_torn_stream_is_a_bad_payload_at_every_length() -> None:
    whole = ev.encode_events([ev.Event(1, "w", "s", "l", 0.5, "none", "m", 1, 2.0)])
    for cut in range(0, len(whole) - 8, 8):
        try:
            assert ev.decode_events(whole[:cut]) == []
        except ev.BadPayload:
            continue


def test_a_bomb_is_not_unpacked() -> None:
    bomb = compress(bytes(ev.MAX_PLAIN_BYTES + 1))
    assert len(bomb) < ev.MAX_PAYLOAD_BYTES
    batch = ev.EventBatch(b"s" * 16, 0, 1, ev.EventKind.FINDING, ev.PayloadCodec.ZSTD, bomb)
    with pytest.raises(ev.BadPayload, match="more than"):
        ev.unpack_payload(batch)


def test_a_batch_is_never_empty_nor_endless() -> None:
    with pytest.raises(ValueError, match="1 to 65536"):
        ev.encode_events([])
