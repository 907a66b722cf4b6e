"""The lake: every event once, whatever is repeated, damaged or killed; questions bounded and read-only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.errors import WorldError
from nervure_core.events import Event, EventBatch, EventKind, PayloadCodec, pack_events
from nervure_core.messages import Lost
from nervure_hub.config import LakeConfig
from nervure_hub.gateway import JournalRecord, JournalSlice
from nervure_hub.gateway.records import StoredBatch, StoredLoss, encode_record, klass_of
from nervure_hub.lake import BadQuery, Lake
from nervure_hub.lake.ranges import SeqRanges

STREAM = b"s" * 16
DAY_US = 86_400_000_000


def batch(
    first: int, count: int, *, agent: str = "cam", hub_time_us: int = DAY_US, kind: str = "finding"
) -> StoredBatch:
    events = [
        Event(seq, "network", f"flow-{seq}", "scan", 0.5, "observe", "m", 1, 9.0) for seq in range(first, first + count)
    ]
    return StoredBatch(agent, "europe", hub_time_us, pack_events(STREAM, first, EventKind(kind), events))


class Source:
    """A journal in memory that can be away, and remembers what was given up."""

    def __init__(self, name: str, *entries: StoredBatch | StoredLoss, journal_id: str = "") -> None:
        self.name = name
        self.journal_id = journal_id or f"journal-{name}"
        self.entries: list[StoredBatch | StoredLoss] = list(entries)
        self.dropped = 0
        self.away = False

    async def read_journal(self, from_seq: int, max_bytes: int) -> JournalSlice:
        if self.away:
            raise WorldError("away")
        records: list[JournalRecord] = []
        for seq in range(from_seq, len(self.entries)):
            entry = self.entries[seq]
            records.append(JournalRecord(seq, klass_of(entry), encode_record(entry)))
            if len(records) == 2:
                break
        end = from_seq + len(records)
        return JournalSlice(self.journal_id, tuple(records), end, more=end < len(self.entries))

    async def drop_journal(self, seq: int) -> int:
        self.dropped = seq
        return 0


def opened(folder: Path, *sources: Source, **config: Any) -> Lake:
    lake = Lake(folder / "lake", LakeConfig(**config))
    for source in sources:
        lake.add_source(source)
    return lake


async def seqs(lake: Lake) -> list[int]:
    return [int(row[0]) for row in (await lake.query("SELECT seq FROM events ORDER BY seq")).rows]


async def test_rows_are_there_before_and_after_compaction(tmp_path: Path) -> None:
    source = Source("a", batch(0, 3), batch(3, 2), batch(5, 1))
    lake = opened(tmp_path, source)
    assert await seqs(lake) == list(range(6))
    assert lake.stats().pending_rows == 6
    stats = await lake.compact()
    assert (stats.rows, stats.pending_rows, stats.commits, source.dropped) == (6, 0, 1, 3)
    assert await seqs(lake) == list(range(6))
    source.entries.append(batch(6, 2))
    assert await seqs(lake) == list(range(8))


async def test_repeats_from_two_journals_count_once(tmp_path: Path) -> None:
    lake = opened(tmp_path, Source("a", batch(0, 5)), Source("b", batch(3, 5), batch(0, 8)))
    assert await seqs(lake) == list(range(8))
    assert (await lake.compact()).duplicates_dropped == 10
    assert await seqs(lake) == list(range(8))


async def test_a_crash_between_commit_and_drop_repeats_nothing(tmp_path: Path) -> None:
    source = Source("a", batch(0, 5), batch(5, 5))
    await opened(tmp_path, source).compact()
    # A new lake over the same folder; the journal still has everything, and something new.
    source.entries.append(batch(10, 5))
    again = opened(tmp_path, source)
    stats = await again.compact()
    assert (stats.rows, stats.duplicates_dropped, stats.commits) == (15, 0, 1)
    assert await seqs(again) == list(range(15))


async def test_repeats_of_compacted_rows_are_known_after_a_restart(tmp_path: Path) -> None:
    await opened(tmp_path, Source("a", batch(0, 5))).compact()
    lake = opened(tmp_path, Source("b", batch(0, 7)))
    assert await seqs(lake) == list(range(7))
    assert lake.stats().duplicates_dropped == 5


async def test_a_wiped_journal_starts_anew(tmp_path: Path) -> None:
    lake = opened(tmp_path, source := Source("a", batch(0, 3), batch(3, 3)))
    await lake.compact()
    source.entries[:], source.journal_id = [batch(100, 2)], "journal-new"
    assert await seqs(lake) == [*range(6), 100, 101]


async def test_what_can_not_be_opened_is_counted_and_hides_nothing(tmp_path: Path) -> None:
    def spoiled(payload: bytes, codec: PayloadCodec, count: int = 2) -> StoredBatch:
        return StoredBatch("cam", "europe", DAY_US, EventBatch(STREAM, 0, count, EventKind.FINDING, codec, payload))

    good = batch(0, 2).batch
    source = Source(
        "a",
        spoiled(b"rubbish", PayloadCodec.NONE),
        spoiled(b"rubbish", PayloadCodec.ZSTD),
        spoiled(good.payload, good.codec, count=5),
        StoredLoss("cam", "europe", DAY_US, Lost(STREAM, 10, 14, "quota")),
        batch(0, 2),
    )
    lake = opened(tmp_path, source)
    assert await seqs(lake) == [0, 1]
    stats = lake.stats()
    assert (stats.undecodable, stats.lost_reported, stats.rows) == (3, 4, 2)


async def test_a_journal_that_is_away_stops_nobody(tmp_path: Path) -> None:
    away, here = Source("a", batch(0, 2)), Source("b", batch(2, 2))
    lake = opened(tmp_path, away, here)
    away.away = True
    assert await seqs(lake) == [2, 3]
    away.away = False
    assert await seqs(lake) == [0, 1, 2, 3]


async def test_large_backlogs_are_committed_in_steps(tmp_path: Path) -> None:
    entries = [batch(index * 2000, 2000) for index in range(60)]
    lake = opened(tmp_path, Source("a", *entries), compact_bytes=1 << 20)
    assert (await lake.compact()).rows == 120_000
    assert lake.stats().commits >= 1


async def test_partitions_and_columns(tmp_path: Path) -> None:
    lake = opened(tmp_path, Source("a", batch(0, 1), batch(1, 1, hub_time_us=3 * DAY_US, kind="audit")))
    await lake.compact()
    assert (tmp_path / "lake" / "region=europe" / "day=1970-01-02" / "kind=finding").is_dir()
    answer = await lake.query(
        "SELECT day, kind, agent, stream, subject, round(score, 1) FROM events WHERE kind = 'audit'"
    )
    assert [tuple(row) for row in answer.rows] == [("1970-01-04", "audit", "cam", STREAM.hex(), "flow-1", 0.5)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nope FROM events", "nope"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("", "0 statements"),
        ("CREATE TABLE t (a int)", "CREATE is not answered"),
        ("COPY events TO '/tmp/stolen.csv'", "COPY is not answered"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM fresh", "does not exist"),
        ("SET memory_limit = '1TB'", "SET is not answered"),
        ("INSTALL httpfs", "is not answered"),
    ],
)
async def test_wrong_questions_get_the_first_line(tmp_path: Path, sql: str, words: str) -> None:
    with pytest.raises(BadQuery) as raised:
        await opened(tmp_path).query(sql)
    assert words in raised.value.message
    assert "\n" not in raised.value.message


async def test_answers_are_bounded(tmp_path: Path) -> None:
    lake = opened(tmp_path, Source("a", batch(0, 50)), query_rows=10, query_timeout_s=0.2)
    answer = await lake.query("SELECT * FROM events")
    assert (len(answer.rows), answer.truncated) == (10, True)
    with pytest.raises(BadQuery, match="longer than"):
        await lake.query("SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b")


async def test_answers_are_bounded_by_size_too(tmp_path: Path) -> None:
    lake = opened(tmp_path, query_answer_mib=1)
    answer = await lake.query("SELECT repeat('x', 300000) FROM range(1000)")
    assert (len(answer.rows), answer.truncated) == (3, True)
    with pytest.raises(BadQuery, match="one row of the answer is larger than 1 MiB"):
        await lake.query("SELECT [repeat('x', 300000)], {'a': repeat('x', 900000)} FROM range(10)")


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=30))
def test_ranges_are_a_set(parts: list[tuple[int, int]]) -> None:
    ranges, model = SeqRanges(), set[int]()
    for start, length in parts:
        new = ranges.add(start, start + length)
        expected = set(range(start, start + length)) - model
        assert {seq for low, high in new for seq in range(low, high)} == expected
        assert sum(high - low for low, high in new) == len(expected)
        model |= expected
    assert len(ranges) == len(model)
    assert all(seq in ranges for seq in model)
    flat = [edge for pair in ranges.ranges() for edge in pair]
    assert flat == sorted(set(flat))


async def test_giving_segments_away_is_tried_until_it_works(tmp_path: Path) -> None:
    class Stubborn(Source):
        refusals = 2

        async def drop_journal(self, seq: int) -> int:
            if self.refusals:
                self.refusals -= 1
                raise WorldError("not now")
            return await super().drop_journal(seq)

    source = Stubborn("a", batch(0, 3))
    lake = opened(tmp_path, source)
    for _ in range(3):
        await lake.compact()
    assert source.dropped == 1
