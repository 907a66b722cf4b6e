"""The segment log against a model of itself, and against damage."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nervure_core.errors import WorldError
from nervure_core.segment_log import LogFull, LogRecord, SegmentLog

SEGMENT = 256


def fill(folder: Path, payloads: list[bytes]) -> list[LogRecord]:
    """Write ``payloads`` and return the records as the log gives them back."""
    with SegmentLog(folder, segment_bytes=SEGMENT) as log:
        for payload in payloads:
            log.append(payload, count=2, klass=len(payload) % 4)
    with SegmentLog(folder, segment_bytes=SEGMENT) as log:
        return list(log.read())


@given(payloads=st.lists(st.binary(max_size=200), max_size=30))
@settings(max_examples=40, deadline=None)
def test_what_was_written_is_read_after_reopening(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]
) -> None:
    records = fill(tmp_path_factory.mktemp("log"), payloads)
    assert [record.payload for record in records] == payloads
    assert [record.first_seq for record in records] == [2 * index for index in range(len(payloads))]


def test_cutting_the_last_segment_anywhere_keeps_every_record_before_the_cut(tmp_path: Path) -> None:
    records = fill(tmp_path / "log", [bytes([index]) * 20 for index in range(5)])
    last = max((tmp_path / "log").glob("*.seg"))
    whole = last.read_bytes()
    frame = len(whole) // 5
    assert frame * 5 == len(whole), "all five records lie in one segment"
    for cut in range(len(whole)):
        last.write_bytes(whole[:cut])
        with SegmentLog(tmp_path / "log", segment_bytes=SEGMENT) as log:
            assert list(log.read()) == records[: cut // frame]
            assert log.recovery.cut_bytes == cut % frame
            assert log.append(b"after") == 2 * (cut // frame)


def test_a_flipped_bit_anywhere_never_gives_a_wrong_record_and_never_stops_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    records = fill(folder, [bytes([index]) * 30 for index in range(12)])
    paths = sorted(folder.glob("*.seg"))
    assert len(paths) > 1
    for path in paths:
        whole = path.read_bytes()
        for position in range(len(whole)):
            originals = {other: other.read_bytes() for other in paths}
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
            with SegmentLog(folder, segment_bytes=SEGMENT) as log:
                found = list(log.read())
                assert set(found) < set(records)
                assert log.recovery.cut_bytes + log.recovery.skipped_bytes > 0
                if path != paths[-1]:
                    assert found[-1] == records[-1], "only the damaged segment loses records"
            for other, data in originals.items():
                other.write_bytes(data)
            for stray in set(folder.glob("*.seg")) - set(paths):
                stray.unlink()


def test_the_quota_refuses_and_dropping_makes_room(tmp_path: Path) -> None:
    with SegmentLog(tmp_path, segment_bytes=SEGMENT, quota_bytes=1000) as log:
        for _ in range(1000 // 121):
            log.append(b"x" * 100)
        with pytest.raises(LogFull) as caught:
            log.append(b"x" * 100)
        held = log.next_seq
        assert caught.value.used_bytes == log.size_bytes <= 1000
        assert log.drop_before(held) > 0
        assert log.append(b"again") == held


def test_sequences_are_never_given_twice_after_everything_was_dropped(tmp_path: Path) -> None:
    with SegmentLog(tmp_path, segment_bytes=SEGMENT) as log:
        log.append(b"x" * SEGMENT, count=7)
        log.drop_before(7)
        assert (log.first_seq, log.next_seq) == (7, 7)
    with SegmentLog(tmp_path, segment_bytes=SEGMENT) as log:
        assert log.append(b"y") == 7


def test_gaps_are_kept_and_overlaps_refused(tmp_path: Path) -> None:
    with SegmentLog(tmp_path) as log:
        log.append(b"a", first_seq=10, count=5)
        with pytest.raises(ValueError, match="does not fit after 15"):
            log.append(b"b", first_seq=14)
        log.append(b"b", first_seq=20)
        assert [record.payload for record in log.read(from_seq=15)] == [b"b"]


def test_synced_follows_only_sync(tmp_path: Path) -> None:
    with SegmentLog(tmp_path) as log:
        log.append(b"a")
        assert log.synced_seq == 0
        assert log.sync() == log.synced_seq == 1


def test_a_full_disk_is_a_log_full_and_leaves_no_torn_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite

    def short_then_full(file: int, data: bytes, offset: int) -> int:
        if len(data) > 8:
            return real(file, data[:8], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    with SegmentLog(tmp_path) as log:
        log.append(b"kept")
        size = log.size_bytes
        monkeypatch.setattr(os, "pwrite", short_then_full)
        with pytest.raises(LogFull, match="No space left"):
            log.append(b"x" * 7)
        monkeypatch.setattr(os, "pwrite", real)
        assert sum(path.stat().st_size for path in tmp_path.glob("*.seg")) == size
        log.append(b"next")
        assert [record.payload for record in log.read()] == [b"kept", b"next"]


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldError, match=r"file/log: can't open the log"):
        SegmentLog(tmp_path / "file" / "log")


def test_a_reader_beside_an_appender_sees_whole_records_in_order(tmp_path: Path) -> None:
    with SegmentLog(tmp_path, segment_bytes=2048) as log:
        done = threading.Event()

        def append() -> None:
            for index in range(2000):
                log.append(index.to_bytes(4, "big"))
            done.set()

        writer = threading.Thread(target=append)
        writer.start()
        seen = 0
        while not (done.is_set() and seen == 2000):
            for record in log.read(from_seq=seen):
                assert int.from_bytes(record.payload, "big") == record.first_seq == seen
                seen += 1
        writer.join()


class LogMachine(RuleBasedStateMachine):
    """Appends, drops, reopenings and cuts of the unsynced tail, beside a plain list."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.log = SegmentLog(self.folder, segment_bytes=SEGMENT)
        self.model: list[LogRecord] = []

    @rule(payload=st.binary(max_size=120), count=st.integers(1, 9), gap=st.integers(0, 3))
    def append(self, payload: bytes, count: int, gap: int) -> None:
        seq = self.log.append(payload, first_seq=self.log.next_seq + gap, count=count)
        self.model.append(LogRecord(seq, count, 0, payload))

    @rule(share=st.floats(0, 1))
    def drop(self, share: float) -> None:
        before = int(self.log.first_seq + share * (self.log.next_seq - self.log.first_seq))
        self.log.drop_before(before)
        first = self.log.first_seq
        kept = [record for record in self.model if record.first_seq >= first]
        assert all(record.end_seq <= before for record in self.model if record not in kept)
        self.model = kept

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = SegmentLog(self.folder, segment_bytes=SEGMENT)
        assert self.log.recovery.cut_bytes == 0

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "log"):
            assert list(self.log.read()) == self.model

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.log.close()
            shutil.rmtree(self.folder)


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
