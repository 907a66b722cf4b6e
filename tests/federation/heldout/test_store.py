"""Held-out sets in an object store: all or none, and a name keeps what it has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nervure_core.errors import ConfigurationError, InputError
from nervure_federation.heldout import (
    HeldoutConflict,
    HeldoutName,
    NoHeldout,
    list_heldout,
    load_heldout,
    pack_heldout,
    put_heldout,
    require_heldout,
)
from nervure_hub.objects import ObjectStore, ObjectStoreFailed


def made(seed: int, columns: int = 3) -> bytes:
    rng = np.random.default_rng(seed)
    return pack_heldout(rng.normal(size=(8, columns)).astype(np.float32), np.arange(8) % 2)


SETS = {"asia/a": made(1), "asia/a-b": made(2), "europe/c": made(3)}


@pytest.fixture(params=["memory", "file"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return ObjectStore.open("memory:" if request.param == "memory" else (tmp_path / "objects").as_uri())


async def test_what_is_put_is_listed_and_loaded(objects: ObjectStore) -> None:
    assert await list_heldout(objects) == []
    first, *_ = await put_heldout(objects, "demo", SETS)
    assert (first.region, first.site, first.rows, first.positives) == ("asia", "a", 8, 4)
    await put_heldout(objects, "other", {"asia/a": made(9, 5)})
    (demo, other) = await list_heldout(objects)
    assert (demo.name, set(demo.sites)) == ("demo", set(SETS))
    assert other == HeldoutName("other", ("asia/a",))
    loaded = await load_heldout(objects, "demo")
    assert loaded.keys() == SETS.keys()
    assert loaded["europe/c"][0].shape == (8, 3)
    await require_heldout(objects, "demo")


async def test_there_is_nothing_of_another_name(objects: ObjectStore) -> None:
    await put_heldout(objects, "demo", SETS)
    for ask in (require_heldout, load_heldout):
        with pytest.raises(NoHeldout, match="no held-out sets named 'dem'") as caught:
            await ask(objects, "dem")
        assert "nervure rounds heldout push dem DIR" in caught.value.hint


async def test_a_name_keeps_its_sets(objects: ObjectStore) -> None:
    await put_heldout(objects, "demo", SETS)
    assert len(await put_heldout(objects, "demo", SETS)) == 3  # the same again
    for others in ({**SETS, "asia/a": made(7)}, {"europe/c": SETS["europe/c"]}):
        with pytest.raises(HeldoutConflict, match="would change") as caught:
            await put_heldout(objects, "demo", others)
        assert "another name" in caught.value.hint
    assert caught.value.sites == ("asia/a-b", "asia/a")
    np.testing.assert_equal((await load_heldout(objects, "demo"))["asia/a"][0].shape, (8, 3))


async def test_a_push_that_was_cut_short_is_completed(objects: ObjectStore) -> None:
    await objects.put_named("heldout/demo/europe/c.npz", SETS["europe/c"])
    await put_heldout(objects, "demo", SETS)
    assert (await load_heldout(objects, "demo")).keys() == SETS.keys()


async def test_nothing_is_stored_of_sets_that_are_not_right(objects: ObjectStore) -> None:
    with pytest.raises(InputError, match="zone/d: is no npz"):
        await put_heldout(objects, "demo", {**SETS, "zone/d": b"broken"})
    with pytest.raises(ConfigurationError, match="'De mo' is not a name"):
        await put_heldout(objects, "De mo", SETS)
    assert await list_heldout(objects) == []


async def test_a_store_that_fails_in_the_middle_is_left_as_it_was(tmp_path: Path) -> None:
    objects = ObjectStore.open((tmp_path / "objects").as_uri())
    # A file where the folder of the last region has to be.
    await objects.put_named("heldout/demo/europe", b"in the way")
    with pytest.raises(ObjectStoreFailed):
        await put_heldout(objects, "demo", SETS)
    assert await list_heldout(objects) == []
    assert [path.name for path in (tmp_path / "objects").rglob("*.npz")] == []
