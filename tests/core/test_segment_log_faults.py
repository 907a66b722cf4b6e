"""The segment log on a disk that forgets: what the fault simulator found, one test each."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from nervure_core.disk import Disk
from nervure_core.errors import WorldError
from nervure_core.segment_log import SegmentLog
from nervure_simulations.faults.disk import MemoryDisk, Mount

FOLDER = Path("/log")


def mounted(disk: MemoryDisk) -> Mount:
    mount = Mount(disk, lambda: mount.kill())
    return mount


def opened(disk: Disk) -> SegmentLog:
    return SegmentLog(FOLDER, segment_bytes=256, disk=disk)


@pytest.mark.parametrize("seed", range(10))
def test_what_a_later_sync_covers_survives_an_earlier_one_that_failed(seed: int) -> None:
    disk = MemoryDisk(random.Random(seed))
    log = opened(mounted(disk))
    log.append(b"first")
    disk.failing_syncs = 1
    with pytest.raises(WorldError, match="can't sync"):
        log.sync()
    log.append(b"second")
    assert log.sync() == 2
    disk.power_cut()
    assert [record.payload for record in opened(mounted(disk)).read()] == [b"first", b"second"]


@pytest.mark.parametrize("seed", range(10))
def test_what_a_killed_process_left_is_durable_once_it_is_believed(seed: int) -> None:
    disk = MemoryDisk(random.Random(seed))
    mount = mounted(disk)
    opened(mount).append(b"never synced")
    mount.kill()
    log = opened(mounted(disk))
    assert log.synced_seq == log.next_seq == 1
    disk.power_cut()
    assert opened(mounted(disk)).next_seq == 1


@pytest.mark.parametrize("operations", range(4))
@pytest.mark.parametrize("seed", range(5))
def test_a_segment_whose_name_was_never_synced_is_kept_once_it_is_believed(seed: int, operations: int) -> None:
    disk = MemoryDisk(random.Random(seed))
    mount = mounted(disk)
    mount.crash_in = operations
    with contextlib.suppress(WorldError):
        log = opened(mount)
        log.append(b"first")
        log.sync()
    mount.kill()
    log = opened(mounted(disk))
    log.append(b"second")
    upto = log.sync()
    disk.power_cut()
    assert opened(mounted(disk)).next_seq == upto


def test_a_log_opens_on_a_disk_that_can_not_sync_and_believes_nothing_yet() -> None:
    disk = MemoryDisk(random.Random(1))
    mount = mounted(disk)
    opened(mount).append(b"never synced")
    mount.kill()
    disk.failing_syncs = 1
    log = opened(mounted(disk))
    assert (log.synced_seq, log.next_seq) == (0, 1)
    assert log.sync() == 1


@pytest.mark.parametrize("operations", range(6))
def test_dropping_everything_never_forgets_the_numbers_wherever_it_dies(operations: int) -> None:
    disk = MemoryDisk(random.Random(operations))
    mount = mounted(disk)
    log = opened(mount)
    log.append(b"x" * 100, count=7)
    log.sync()
    mount.crash_in = operations
    try:
        log.drop_before(7)
    except WorldError:
        disk.power_cut()
    assert opened(mounted(disk)).next_seq == 7


def test_a_disk_that_can_not_be_read_is_named() -> None:
    mount = mounted(MemoryDisk(random.Random(1)))
    log = opened(mount)
    log.append(b"x")
    mount.kill()
    with pytest.raises(WorldError, match="can't read"):
        list(log.read())
