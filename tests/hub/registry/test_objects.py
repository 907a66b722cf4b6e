from __future__ import annotations

from pathlib import Path

import pytest

from nervure_core.errors import ConfigurationError
from nervure_core.files import sha256_hex
from nervure_hub.objects import ObjectDamaged, ObjectMissing, ObjectStore, ObjectStoreFailed


@pytest.fixture(params=["memory", "file"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return ObjectStore.open("memory:" if request.param == "memory" else (tmp_path / "objects").as_uri())


async def test_content_is_named_by_its_hash_and_read_back_whole_or_in_parts(objects: ObjectStore) -> None:
    data = bytes(range(256)) * 10
    key = await objects.put(data)
    assert key == sha256_hex(data) == await objects.put(data)
    assert await objects.get(key) == data
    assert await objects.size(key) == len(data)
    assert await objects.exists(key)
    assert await objects.get_range(key, 0, 100) == data[:100]
    assert await objects.get_range(key, 2500, 4096) == data[2500:]
    assert await objects.get_range(key, len(data), 10) == b""
    assert await objects.get_range(key, 0, 0) == b""


async def test_an_empty_object_is_an_object(objects: ObjectStore) -> None:
    key = await objects.put(b"")
    assert await objects.get(key) == b""
    assert await objects.get_range(key, 0, 10) == b""


@pytest.mark.parametrize("key", ["0" * 64, "", "../../etc/passwd", "G" * 64])
async def test_what_is_not_there_is_missing(objects: ObjectStore, key: str) -> None:
    for call in (objects.get(key), objects.size(key), objects.get_range(key, 0, 1)):
        with pytest.raises(ObjectMissing):
            await call
    if len(key) == 64 and key.isdigit():
        assert not await objects.exists(key)


async def test_damage_on_disk_is_noticed(tmp_path: Path) -> None:
    objects = ObjectStore.open(tmp_path.as_uri())
    key = await objects.put(b"weights")
    file = tmp_path / "sha256" / key[:2] / key
    file.write_bytes(b"weighty")
    with pytest.raises(ObjectDamaged, match="damaged") as raised:
        await objects.get(key)
    assert raised.value.key == key


async def test_named_objects_are_replaced_and_listed(objects: ObjectStore) -> None:
    with pytest.raises(ObjectMissing):
        await objects.get_named("runs/r1/state.bin")
    await objects.put_named("runs/r1/state.bin", b"1")
    await objects.put_named("runs/r1/state.bin", b"2")
    await objects.put_named("runs/r2/state.bin", b"3")
    assert await objects.get_named("runs/r1/state.bin") == b"2"
    assert list(await objects.list_named("runs")) == ["runs/r1/state.bin", "runs/r2/state.bin"]
    assert list(await objects.list_named("runs/r2/")) == ["runs/r2/state.bin"]
    await objects.delete_named("runs/r1/state.bin")
    await objects.delete_named("runs/r1/state.bin")
    assert not await objects.exists_named("runs/r1/state.bin")


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/../b", "a/", "a b"])
async def test_names_that_leave_the_store_are_refused(objects: ObjectStore, name: str) -> None:
    with pytest.raises(ConfigurationError):
        await objects.put_named(name, b"")


@pytest.mark.parametrize("url", ["", "objects", "file://relative/path", "file:relative", "ftp://host/x", "s3://"])
def test_urls_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        ObjectStore.open(url)


def test_a_folder_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ObjectStoreFailed):
        ObjectStore.open((tmp_path / "file" / "objects").as_uri())
