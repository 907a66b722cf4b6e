"""The spool: numbers, acknowledgements, quota, damage."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nervure_core.errors import PeerError
from nervure_core.events import Event, EventBatch, EventKind, decode_events, unpack_payload
from nervure_core.messages import Lost
from nervure_edge.spool import Spool
from nervure_simulations.faults.disk import MemoryDisk, Mount

QUOTA = 1 << 20


def events(count: int, *, detail: str = "{}", first: int = 0) -> list[Event]:
    return [
        Event(n, "table", f"row-{n}", "attack", 0.9, "observe", "m", 1, 10.0, detail)
        for n in range(first, first + count)
    ]


def subjects(spool: Spool, from_seq: int = 0) -> list[str]:
    batches = [item for item in spool.read(from_seq) if isinstance(item, EventBatch)]
    return [event.subject for batch in batches for event in decode_events(unpack_payload(batch))]


def losses(spool: Spool, from_seq: int = 0) -> list[Lost]:
    return [item for item in spool.read(from_seq) if isinstance(item, Lost)]


def test_only_what_is_durable_is_handed_out(tmp_path: Path) -> None:
    with Spool(tmp_path, quota_bytes=QUOTA) as spool:
        spool.append(EventKind.FINDING, events(3))
        assert subjects(spool) == []
        assert spool.sync() == 3
        assert subjects(spool) == ["row-0", "row-1", "row-2"]


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    with Spool(tmp_path, quota_bytes=QUOTA) as spool:
        stream = spool.stream_id
        spool.append(EventKind.FINDING, events(10))
        spool.sync()
        assert spool.acknowledge(stream, 4) == 4
    with Spool(tmp_path, quota_bytes=QUOTA) as spool:
        assert spool.stream_id == stream
        assert spool.next_seq == 10
        assert spool.acknowledged_seq == 4
        spool.append(EventKind.FINDING, events(2, first=10))
        spool.sync()
        # A batch that is acknowledged in part goes out whole: the hub drops what it has.
        assert len(subjects(spool)) == 12


def test_foreign_and_impossible_acknowledgements_are_not_believed(tmp_path: Path) -> None:
    with Spool(tmp_path, quota_bytes=QUOTA) as spool:
        spool.append(EventKind.FINDING, events(10))
        assert spool.acknowledge(spool.stream_id, 10) == 0
        spool.sync()
        assert spool.acknowledge(bytes(16), 10) == 0
        assert spool.acknowledge(spool.stream_id, 10_000) == 10
        assert spool.acknowledge(spool.stream_id, 5) == 0


def test_samples_go_before_findings_and_the_loss_survives_a_restart(tmp_path: Path) -> None:
    with Spool(tmp_path, quota_bytes=QUOTA, segment_bytes=64 << 10) as spool:
        kept = {EventKind.SAMPLE: 0, EventKind.FINDING: 0}
        for number in range(4000):
            for kind in kept:
                # Details that do not compress, so that the quota is met soon.
                noise = f'{{"n": "{hash((number, kind, 1)):x}{hash((number, kind, 2)):x}"}}'
                kept[kind] += spool.append(kind, events(4, detail=noise * 4, first=number))
        spool.sync()
        counts = spool.counts()
        assert kept[EventKind.FINDING] > kept[EventKind.SAMPLE] > 0
        assert counts.size_bytes <= QUOTA
        assert counts.produced == 32_000
        stored = len(subjects(spool))
        reported = sum(lost.to_seq - lost.from_seq for lost in losses(spool))
        assert stored + reported == 32_000
        assert counts.lost == reported
    with Spool(tmp_path, quota_bytes=QUOTA, segment_bytes=64 << 10) as again:
        assert again.next_seq == 32_000
        assert len(subjects(again)) == stored
        assert sum(lost.to_seq - lost.from_seq for lost in losses(again)) == reported
        again.acknowledge(again.stream_id, again.next_seq)
        assert again.append(EventKind.SAMPLE, events(1))


def test_a_torn_tail_is_cut_and_numbers_are_not_used_twice(tmp_path: Path) -> None:
    with Spool(tmp_path, quota_bytes=QUOTA) as spool:
        for first in range(0, 30, 10):
            spool.append(EventKind.FINDING, events(10, first=first))
            spool.sync()
    segment = max((tmp_path / "log").iterdir())
    segment.write_bytes(segment.read_bytes()[:-7])
    with Spool(tmp_path, quota_bytes=QUOTA) as spool:
        assert len(subjects(spool)) == 20
        # The hub has seen all thirty: numbering goes on behind what it knows.
        spool.skip_to(30)
        spool.append(EventKind.FINDING, events(1, first=30))
        spool.sync()
        assert [item.first_seq for item in spool.read(30) if isinstance(item, EventBatch)] == [30]


def test_a_damaged_segment_is_reported_as_lost(tmp_path: Path) -> None:
    with Spool(tmp_path, quota_bytes=QUOTA, segment_bytes=64) as spool:
        for first in range(0, 30, 10):
            spool.append(EventKind.FINDING, events(10, first=first))
            spool.sync()
    middle = sorted((tmp_path / "log").iterdir())[1]
    data = bytearray(middle.read_bytes())
    data[40] ^= 0xFF
    middle.write_bytes(data)
    with Spool(tmp_path, quota_bytes=QUOTA, segment_bytes=64) as spool:
        assert len(subjects(spool)) == 20
        assert [(lost.from_seq, lost.to_seq, lost.reason) for lost in losses(spool)] == [(10, 20, "spool damaged")]
        assert spool.counts().lost == 10
        assert spool.acknowledge(spool.stream_id, 30) == 20


def test_a_lost_stream_file_is_found_again_in_the_records(tmp_path: Path) -> None:
    with Spool(tmp_path, quota_bytes=QUOTA) as spool:
        stream = spool.stream_id
        spool.append(EventKind.FINDING, events(1))
    (tmp_path / "stream").write_text("not hex")
    with Spool(tmp_path, quota_bytes=QUOTA) as spool:
        assert spool.stream_id == stream


def test_an_absurd_claim_of_a_hub_is_refused(tmp_path: Path) -> None:
    with Spool(tmp_path, quota_bytes=QUOTA) as spool, pytest.raises(PeerError, match="claims"):
        spool.skip_to(1 << 60)


def test_events_too_large_for_a_frame_are_split_or_lost_never_sent(tmp_path: Path) -> None:
    first, second, third = (random.Random(seed).randbytes(500_000).hex() for seed in range(3))
    with Spool(tmp_path, quota_bytes=64 << 20) as spool:
        assert spool.append(EventKind.FINDING, [*events(1, detail=first), *events(1, detail=second)])
        assert not spool.append(EventKind.FINDING, events(1, detail=first + second + third))
        spool.sync()
        batches = list(spool.read(0))
        assert [item.count for item in batches if isinstance(item, EventBatch)] == [1, 1]
        assert spool.counts().lost == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 5)),
            st.tuples(st.just("sync"), st.just(0)),
            st.tuples(st.just("ack"), st.integers(0, 100)),
            st.tuples(st.just("reopen"), st.just(0)),
        ),
        max_size=30,
    )
)
def test_any_history_keeps_every_unacknowledged_event(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, quota_bytes=QUOTA, segment_bytes=512)
    produced = 0
    for what, number in history:
        if what == "append":
            spool.append(EventKind.FINDING, events(number, first=produced))
            produced += number
        elif what == "sync":
            spool.sync()
        elif what == "ack":
            spool.acknowledge(spool.stream_id, number)
        else:
            spool.close()
            spool = Spool(folder, quota_bytes=QUOTA, segment_bytes=512)
    spool.sync()
    mark = spool.acknowledged_seq
    assert spool.next_seq == produced
    found = subjects(spool, mark)
    assert found[-(produced - mark) :] == [f"row-{n}" for n in range(mark, produced)] or mark == produced
    assert losses(spool) == []
    spool.close()


def test_a_disk_that_fails_costs_events_and_says_so_but_never_raises() -> None:
    disk = MemoryDisk(random.Random(1))
    spool = Spool(Path("/spool"), quota_bytes=QUOTA, segment_bytes=64, disk=Mount(disk, lambda: None))
    assert spool.append(EventKind.AUDIT, events(1))
    # The next append begins a new segment, which syncs the old one first.
    disk.failing_syncs = 1
    assert not spool.append(EventKind.AUDIT, events(1))
    assert spool.append(EventKind.AUDIT, events(1))
    spool.sync()
    items = [(type(item), item.from_seq if isinstance(item, Lost) else item.first_seq) for item in spool.read(0)]
    assert items == [(EventBatch, 0), (Lost, 1), (EventBatch, 2)]
