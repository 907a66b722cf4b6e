"""The journal: durable before it is told, marks that survive, and a failed write that can't be papered over."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.errors import NervureError, WorldError
from nervure_core.events import EventBatch, EventKind, PayloadCodec
from nervure_core.messages import Lost
from nervure_hub.gateway import Journal
from nervure_hub.gateway.records import (
    BadRecord,
    StoredBatch,
    StoredLoss,
    decode_record,
    encode_record,
    klass_of,
)
from nervure_hub.gateway.watermarks import StreamKey

STREAM = b"s" * 16
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)
SEQS = st.integers(0, 1 << 50)


def stored(first: int = 0, count: int = 3, size: int = 10) -> StoredBatch:
    batch = EventBatch(STREAM, first, count, EventKind.AUDIT, PayloadCodec.ZSTD, b"x" * size)
    return StoredBatch("camera-7", "europe", 5, batch)


@given(agent=NAMES, region=NAMES, time_us=st.integers(-(1 << 60), 1 << 60), first=SEQS, payload=st.binary(min_size=1))
def test_batches_come_back_as_they_were(agent: str, region: str, time_us: int, first: int, payload: bytes) -> None:
    batch = EventBatch(STREAM, first, 7, EventKind.METRIC, PayloadCodec.NONE, payload)
    entry = StoredBatch(agent, region, time_us, batch)
    assert decode_record(klass_of(entry), encode_record(entry)) == entry


@given(first=SEQS, length=st.integers(1, 1000), reason=st.text())
def test_losses_come_back_as_they_were(first: int, length: int, reason: str) -> None:
    entry = StoredLoss("a", "b", 1, Lost(STREAM, first, first + length, reason))
    assert decode_record(klass_of(entry), encode_record(entry)) == entry


@given(klass=st.integers(0, 3), payload=st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_bad_one(klass: int, payload: bytes) -> None:
    with contextlib.suppress(BadRecord):
        decode_record(klass, payload)


async def written(
    journal: Journal[int], entries: list[StoredBatch]
) -> tuple[list[int], list[int], NervureError | None]:
    """Submit entries with their places as tokens; return those durable, those failed, and why."""
    durable: list[int] = []
    failed: list[int] = []
    errors: list[NervureError] = []
    settled = asyncio.Event()

    def settle() -> None:
        if len(durable) + len(failed) == len(entries):
            settled.set()

    def on_durable(tokens: list[int]) -> None:
        assert journal.synced_seq >= len(durable) + len(tokens)
        durable.extend(tokens)
        settle()

    def on_failed(tokens: list[int], error: NervureError) -> None:
        failed.extend(tokens)
        errors.append(error)
        settle()

    journal.start(on_durable, on_failed)
    for index, entry in enumerate(entries):
        journal.submit(klass_of(entry), encode_record(entry), index)
    await settled.wait()
    return durable, failed, errors[0] if errors else None


async def test_records_are_durable_before_anybody_is_told(tmp_path: Path) -> None:
    with Journal[int](tmp_path) as journal:
        durable, failed, _ = await written(journal, [stored(index * 3) for index in range(20)])
        assert (durable, failed) == (list(range(20)), [])
        first = journal.read(0, 400)
        assert first.more
        assert journal.read(first.next_seq, 1 << 20).next_seq == 20
        assert journal.queued_bytes == 0


async def test_after_a_failure_nothing_is_durable_until_resumed(tmp_path: Path) -> None:
    with Journal[int](tmp_path, quota_bytes=1 << 20) as journal:
        entries = [stored(index * 3, size=700_000 if index == 2 else 300_000) for index in range(5)]
        durable, failed, error = await written(journal, entries)
        # The third does not fit; the fourth would, but its acknowledgement would cover the hole.
        assert set(durable) | set(failed) == set(range(5))
        assert not set(durable) & {2, 3, 4}
        assert isinstance(error, WorldError)
    assert len(Journal[int](tmp_path).read(0, 1 << 22).records) == 2


async def test_marks_survive_dropping_and_restarting(tmp_path: Path) -> None:
    key = StreamKey("camera-7", STREAM)
    with Journal[int](tmp_path, segment_bytes=64 << 10) as journal:
        await written(journal, [stored(index * 3, size=30_000) for index in range(10)])
        journal.marks.commit(key, 30)
        assert await journal.drop_before(10) > 0
        first_id = journal.journal_id
    with Journal[int](tmp_path) as journal:
        assert journal.first_seq > 0
        assert journal.marks.durable(key) == 30
        assert journal.journal_id == first_id


async def test_marks_are_rebuilt_from_records_alone(tmp_path: Path) -> None:
    with Journal[int](tmp_path) as journal:
        await written(journal, [stored(0), stored(3)])
    (tmp_path / "watermarks.json").write_bytes(b"{ damaged")
    with Journal[int](tmp_path) as journal:
        assert journal.marks.durable(StreamKey("camera-7", STREAM)) == 6


def test_one_owner(tmp_path: Path) -> None:
    with Journal[int](tmp_path), pytest.raises(WorldError, match="another process"):
        Journal[int](tmp_path)
    Journal[int](tmp_path).close()
