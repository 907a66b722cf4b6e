"""The disk in memory keeps the contract that the machine's own keeps, and loses what it may."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from nervure_core.disk import Disk, SystemDisk
from nervure_simulations.faults.disk import MemoryDisk, Mount


def mounted(disk: MemoryDisk) -> Mount:
    mount = Mount(disk, lambda: mount.kill())
    return mount


@pytest.fixture(params=["system", "memory"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return SystemDisk() if request.param == "system" else mounted(MemoryDisk(random.Random(1)))


def test_files_are_written_read_cut_and_removed(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    disk.make_folder(path.parent)
    with pytest.raises(FileNotFoundError):
        disk.open(path, create=False)
    file = disk.open(path, create=True)
    assert file.write_at(b"abcdef", 0) == 6
    assert file.write_at(b"XY", 8) == 2
    file.cut(9)
    other = file.twin()
    file.close()
    other.sync()
    assert other.read_at(100, 1) == b"bcdef\0\0X"
    other.close()
    disk.sync_folder(path.parent)
    assert (disk.size(path), disk.read(path), disk.names(path.parent)) == (9, b"abcdef\0\0X", ["file"])
    with disk.reader(path) as reader:
        assert reader.read(3) == b"abc"
    for durable in (True, False):
        disk.replace(path, b"new", durable=durable)
        assert disk.read(path) == b"new"
    disk.remove(path)
    disk.remove(path)
    assert disk.names(path.parent) == []


def test_a_held_file_is_held_once(disk: Disk, tmp_path: Path) -> None:
    release = disk.hold(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        disk.hold(tmp_path / "lock")
    release()
    disk.hold(tmp_path / "lock")()


@pytest.mark.parametrize("seed", range(30))
def test_a_power_cut_keeps_what_was_synced_and_a_part_of_the_rest(seed: int) -> None:
    machine = MemoryDisk(random.Random(seed))
    mount = mounted(machine)
    file = mount.open(Path("/f/a"), create=True)
    file.write_at(b"kept", 0)
    file.sync()
    mount.sync_folder(Path("/f"))
    file.write_at(b"-maybe", 4)
    mount.open(Path("/f/b"), create=True)
    mount.kill()
    machine.power_cut()
    left = mounted(machine).read(Path("/f/a"))
    assert left.startswith(b"kept")
    assert b"kept-maybe".startswith(left)


def test_a_dead_process_leaves_no_mark() -> None:
    machine = MemoryDisk(random.Random(1))
    mount = mounted(machine)
    file = mount.open(Path("/f/a"), create=True)
    mount.crash_in = 0
    with pytest.raises(OSError, match="dead"):
        file.write_at(b"torn", 0)
    before = mounted(machine).read(Path("/f/a"))
    with pytest.raises(OSError, match="dead"):
        file.write_at(b"after", 0)
    with pytest.raises(OSError, match="dead"):
        mount.remove(Path("/f/a"))
    assert mounted(machine).read(Path("/f/a")) == before


def test_a_full_disk_takes_a_part_then_says_so_and_removing_makes_room() -> None:
    machine = MemoryDisk(random.Random(1), capacity_bytes=10)
    mount = mounted(machine)
    file = mount.open(Path("/f/a"), create=True)
    assert file.write_at(b"x" * 16, 0) == 10
    with pytest.raises(OSError, match="No space") as caught:
        file.write_at(b"x", 10)
    assert caught.value.errno == errno.ENOSPC
    mount.remove(Path("/f/a"))
    assert mount.open(Path("/f/b"), create=True).write_at(b"y", 0) == 1
