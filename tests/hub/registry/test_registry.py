from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
from tests.support.bundles import classifier, make_bundle, manifest

from nervure_core.bundle import INFER, PROBE, TRAIN, BundleError, TensorSpec, read_bundle, write_bundle
from nervure_core.clock import SystemClock, VirtualClock
from nervure_hub.coordination import FencedOut, MemoryCoordination
from nervure_hub.objects import ObjectStore
from nervure_hub.registry import ModelMissing, Registry, ReleaseRefused


class Hall:
    """A registry over twins, and a folder to make bundles in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.coordination = MemoryCoordination(SystemClock())
        self.objects = ObjectStore.open("memory:")
        self.registry = Registry(self.coordination, self.objects, VirtualClock())

    async def keys(self) -> list[str]:
        return [entry.key for entry in (await self.coordination.list("/"))[0]]


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


async def test_a_pushed_bundle_can_be_found_and_fetched(hall: Hall) -> None:
    bundle = make_bundle(hall.folder / "one")
    ref = await hall.registry.push(bundle.folder)
    assert (ref.name, ref.release, ref.bundle_id, ref.workload) == ("flows", 1, bundle.bundle_id, "network")
    assert ref.pushed_at_s == 1_700_000_000.0
    assert await hall.registry.latest("flows") == ref
    assert await hall.registry.manifest(ref.bundle_id) == bundle.manifest
    assert await hall.registry.file(bundle.manifest.files[INFER].sha256) == bundle.path(INFER).read_bytes()
    fetched = await hall.registry.fetch(ref.bundle_id, hall.folder / "fetched")
    assert fetched.bundle_id == bundle.bundle_id
    assert await hall.registry.fetch(ref.bundle_id, hall.folder / "fetched") == fetched


async def test_releases_only_grow_and_the_same_push_twice_is_one(hall: Hall) -> None:
    second = make_bundle(hall.folder / "b2", release=2)
    ref = await hall.registry.push(second.folder)
    assert await hall.registry.push(second.folder) == ref
    for release in (1, 2):
        late = make_bundle(hall.folder / f"late{release}", release=release, seed=9)
        with pytest.raises(ReleaseRefused) as raised:
            await hall.registry.push(late.folder)
        assert "release 3" in raised.value.hint
    await hall.registry.push(make_bundle(hall.folder / "b12", release=12, seed=1).folder)
    assert [entry.release for entry in await hall.registry.releases("flows")] == [2, 12]
    assert (await hall.registry.release("flows", 2)).release == 2
    assert (await hall.registry.release("flows")).release == 12


async def test_of_two_pushes_of_one_release_one_stands(hall: Hall) -> None:
    folders = [make_bundle(hall.folder / str(seed), seed=seed).folder for seed in range(3)]
    answers = await asyncio.gather(*(hall.registry.push(folder) for folder in folders), return_exceptions=True)
    assert sum(isinstance(answer, ReleaseRefused) for answer in answers) == 2
    assert len(await hall.registry.releases("flows")) == 1


async def test_names_do_not_mix(hall: Hall) -> None:
    await hall.registry.push(make_bundle(hall.folder / "a", name="flows").folder)
    await hall.registry.push(make_bundle(hall.folder / "b", name="flows-wide").folder)
    assert [ref.name for ref in await hall.registry.releases("flows")] == ["flows"]
    assert [ref.name for ref in await hall.registry.releases()] == ["flows", "flows-wide"]


async def test_what_is_not_there_is_missing(hall: Hall) -> None:
    assert await hall.registry.latest("flows") is None
    with pytest.raises(ModelMissing):
        await hall.registry.release("flows")
    with pytest.raises(ModelMissing):
        await hall.registry.manifest("0" * 64)


def probe(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the keywords for its own
    return file.getvalue()


async def _refused(hall: Hall, folder: Path, *words: str) -> None:
    with pytest.raises(BundleError) as raised:
        await hall.registry.push(folder)
    for word in words:
        assert word in raised.value.message
    assert await hall.keys() == []


async def test_a_broken_model_is_refused_with_a_reason(hall: Hall) -> None:
    await _refused(hall, make_bundle(hall.folder / "b", files={INFER: b"\x08\x09nonsense"}).folder, "infer.onnx", "not")


async def test_a_broken_training_graph_is_refused(hall: Hall) -> None:
    await _refused(hall, make_bundle(hall.folder / "b", files={TRAIN: b"nonsense"}).folder, "train.onnx")


async def test_a_changed_file_is_refused(hall: Hall) -> None:
    bundle = make_bundle(hall.folder / "b")
    data = bytearray(bundle.path(INFER).read_bytes())
    data[-1] ^= 1
    bundle.path(INFER).write_bytes(data)
    await _refused(hall, bundle.folder, "infer.onnx", "SHA-256")


async def test_inputs_that_do_not_match_the_manifest_are_refused(hall: Hall) -> None:
    model = classifier().SerializeToString()
    wider = write_bundle(hall.folder / "wider", manifest(features=5), {INFER: model})
    await _refused(hall, wider.folder, "'x'", "[-1, 5]", "[-1, 4]")
    other = write_bundle(hall.folder / "other", manifest(input_name="features"), {INFER: model})
    await _refused(hall, other.folder, "'features'", "not in the model")
    spec = TensorSpec(name="x", dtype="int64", shape=(-1, 4))
    typed = write_bundle(hall.folder / "typed", manifest().model_copy(update={"inputs": (spec,)}), {INFER: model})
    await _refused(hall, typed.folder, "int64", "float32")


async def test_a_probe_that_fails_is_refused_and_one_that_runs_is_taken(hall: Hall) -> None:
    bad = make_bundle(hall.folder / "bad", files={PROBE: probe(x=np.zeros((2, 7), np.float32))})
    await _refused(hall, bad.folder, "probe")
    foreign = make_bundle(hall.folder / "foreign", files={PROBE: probe(y=np.zeros((2, 4), np.float32))})
    await _refused(hall, foreign.folder, "probe.npz")
    infinite = make_bundle(hall.folder / "inf", files={PROBE: probe(x=np.full((2, 4), np.nan, np.float32))})
    await _refused(hall, infinite.folder, "not finite")
    good = make_bundle(hall.folder / "good", files={PROBE: probe(x=np.ones((3, 4), np.float32))})
    assert (await hall.registry.push(good.folder)).release == 1


async def test_no_folder_and_no_bundle_are_said(hall: Hall) -> None:
    await _refused(hall, hall.folder / "absent", "absent")
    (hall.folder / "empty").mkdir()
    await _refused(hall, hall.folder / "empty", "manifest.json")


async def test_a_leader_publishes_fenced(hall: Hall) -> None:
    bundle = make_bundle(hall.folder / "b")
    async with hall.coordination.campaign("rounds", "me", 5.0) as leadership:
        assert (await hall.registry.push(bundle.folder, leadership=leadership)).release == 1
    later = make_bundle(hall.folder / "c", release=2)
    with pytest.raises(FencedOut):
        await hall.registry.push(later.folder, leadership=leadership)
    assert len(await hall.registry.releases("flows")) == 1
    assert read_bundle(later.folder).manifest.release == 2
