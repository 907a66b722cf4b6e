"""Models on disk and in memory: slots that survive every interruption, bundles that are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from tests.edge.conftest import BundleMaker

from nervure_core.bundle import INFER, MANIFEST, WEIGHTS, Bundle, BundleError, DecisionKind, pack_onnx, write_bundle
from nervure_core.errors import InputError
from nervure_core.files import sha256_hex
from nervure_edge.models.loaded import ModelMismatchError, load_model
from nervure_edge.models.slots import Slot, SlotStore
from nervure_edge.models.starting import check_fit, load_slot, start_with


def test_current_previous_and_golden(tmp_path: Path, make_bundle: BundleMaker) -> None:
    store = SlotStore(tmp_path)
    ids: list[str] = []
    for release in (1, 2, 3):
        bundle = store.install(make_bundle(release=release).folder)
        store.try_out("default", bundle.bundle_id)
        store.commit("default", bundle.bundle_id)
        ids.append(bundle.bundle_id)
    assert SlotStore(tmp_path).slot("default") == Slot(ids[2], ids[1], ids[0])
    fourth = store.install(make_bundle(release=4).folder)
    store.try_out("default", fourth.bundle_id)
    store.commit("default", fourth.bundle_id)
    # The third is still the one before; the second is needed by nobody.
    assert {path.name for path in (tmp_path / "bundles").iterdir()} == {ids[0], ids[2], fourth.bundle_id}
    assert store.bundle(ids[0]).manifest.release == 1


STEPS = ("objects", "assembled", "trial", "committed")


@pytest.mark.parametrize("died_after", STEPS)
def test_a_crash_after_any_step_ends_in_old_or_new(tmp_path: Path, make_bundle: BundleMaker, died_after: str) -> None:
    old, new = make_bundle(release=1), make_bundle(release=2)
    store = SlotStore(tmp_path)
    store.install(old.folder)
    store.commit("default", old.bundle_id)
    # What an activation does, cut off after the named step; a new store then opens what is on disk.
    for name, entry in new.manifest.files.items():
        store.part_path(entry.sha256).write_bytes(new.path(name).read_bytes())
        store.adopt_part(entry.sha256)
    if died_after in STEPS[1:]:
        store.assemble(new.manifest_bytes)
    if died_after in STEPS[2:]:
        store.try_out("default", new.bundle_id)
    if died_after == "committed":
        store.commit("default", new.bundle_id)
    again = SlotStore(tmp_path)
    model = load_slot(again, "default", probe_rows=2)
    assert model is not None
    assert model.bundle.bundle_id == (new.bundle_id if died_after == "committed" else old.bundle_id)
    assert again.slot("default").trial == ""


def test_a_damaged_current_model_falls_back_to_the_previous(tmp_path: Path, make_bundle: BundleMaker) -> None:
    store = SlotStore(tmp_path)
    bundles: list[Bundle] = []
    for release in (1, 2):
        bundles.append(store.install(make_bundle(release=release, inverted=release == 2).folder))
        store.commit("default", bundles[-1].bundle_id)
    weights = bundles[1].path(WEIGHTS)
    weights.write_bytes(bytes(weights.stat().st_size))
    model = load_slot(SlotStore(tmp_path), "default", probe_rows=2)
    assert model is not None
    assert model.bundle.bundle_id == bundles[0].bundle_id


@pytest.mark.parametrize("text", ["", "{", "[]", '{"default": 1}', '{"default": {"strange": 1}}'])
def test_a_damaged_state_file_starts_without_a_model(tmp_path: Path, text: str) -> None:
    tmp_path.joinpath("state.json").write_text(text)
    assert SlotStore(tmp_path).slot("default") == Slot()


def test_a_download_with_a_wrong_hash_is_thrown_away(tmp_path: Path) -> None:
    store = SlotStore(tmp_path)
    wanted = sha256_hex(b"right")
    store.part_path(wanted).write_bytes(b"wrong")
    with pytest.raises(BundleError, match="SHA-256"):
        store.adopt_part(wanted)
    assert not store.part_path(wanted).exists()
    assert not store.has_object(wanted, 5)


def test_a_local_bundle_wins_over_older_and_loses_to_newer(tmp_path: Path, make_bundle: BundleMaker) -> None:
    store = SlotStore(tmp_path)
    first, third = make_bundle(release=1), make_bundle(release=3)
    running = start_with(store, "default", first.folder, None, probe_rows=2)
    assert running.running.release == 1
    running = start_with(store, "default", third.folder, running, probe_rows=2)
    assert running.running.release == 3
    assert start_with(store, "default", first.folder, running, probe_rows=2) is running
    other = make_bundle(release=1, name="other")
    assert start_with(store, "default", other.folder, running, probe_rows=2).running.name == "other"


def test_a_model_is_checked_against_its_manifest(bundle: Bundle, tmp_path: Path) -> None:
    files = {name: bundle.path(name).read_bytes() for name in bundle.manifest.files}
    spec = bundle.manifest.inputs[0]
    anything = bundle.manifest.outputs[0].model_copy(update={"shape": (-1, -1)})
    wrong: list[tuple[dict[str, object], str]] = [
        ({"inputs": (spec.model_copy(update={"name": "y"}),)}, "names input 'y'"),
        ({"inputs": (spec.model_copy(update={"dtype": "float64"}),)}, "float64"),
        ({"inputs": (spec.model_copy(update={"shape": (-1, 7)}),)}, r"\[-1, 7\]"),
        ({"labels": ("a", "b", "c"), "benign_label": "a", "outputs": (anything,)}, "2 probabilities for 3 labels"),
    ]
    for number, (update, message) in enumerate(wrong):
        changed = write_bundle(tmp_path / str(number), bundle.manifest.model_copy(update=update), files)
        with pytest.raises(ModelMismatchError, match=message):
            load_model(changed)


def test_a_model_that_gives_nonsense_fails_its_probe(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle()
    files = {name: bundle.path(name).read_bytes() for name in bundle.manifest.files}
    size = bundle.manifest.files[WEIGHTS].size
    files[WEIGHTS] = np.full(size // 4, np.nan, np.float32).tobytes()
    with pytest.raises(ModelMismatchError, match="probe"):
        load_model(write_bundle(tmp_path / "nan", bundle.manifest, files))


def test_a_broken_file_is_refused_by_name(bundle: Bundle, tmp_path: Path) -> None:
    files = {name: bundle.path(name).read_bytes() for name in bundle.manifest.files}
    broken = write_bundle(tmp_path / "broken", bundle.manifest, {**files, INFER: b"not onnx"})
    with pytest.raises(InputError, match=r"infer\.onnx: not a model"):
        load_model(broken)


def test_a_model_nobody_here_made(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 17]>
        net (string[N, 1] city, int64[N, 1] rooms, double[N, 1] area, bool[N, 1] garden)
            => (int64[N] label, float[N, 2] scores) {
          r = Cast<to = 1>(rooms)  a = Cast<to = 1>(area)  g = Cast<to = 1>(garden)
          both = Concat<axis = 1>(r, a)  scores = Softmax<axis = -1>(both)
          label = ArgMax<axis = 1, keepdims = 0>(scores) }"""
    )
    path = tmp_path / "foreign.onnx"
    path.write_bytes(model.SerializeToString())
    bundle = pack_onnx(
        path, tmp_path / "bundle", name="houses", labels=("cheap", "dear"), output="label", kind=DecisionKind.LABEL
    )
    loaded = load_model(bundle)
    row = {
        "city": np.array([["Rome"]], object),
        "rooms": np.array([[1]], np.int64),
        "area": np.array([[70.0]], np.float64),
        "garden": np.array([[True]]),
    }
    assert loaded.decide(row).label == "dear"
    assert [item.dtype for item in loaded.inputs] == ["string", "int64", "float64", "bool"]
    assert not loaded.can_train


@pytest.mark.parametrize(
    ("key", "classes"),
    [("string", 'classlabels_strings = ["stay", "leave"]'), ("int64", "classlabels_int64s = [0, 1]")],
)
def test_probabilities_in_maps_decide_too(tmp_path: Path, key: str, classes: str) -> None:
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : 17, "ai.onnx.ml" : 1]>
        net (float[N, 2] p) => (seq(map({key}, float)) maps) {{ maps = ai.onnx.ml.ZipMap<{classes}>(p) }}"""
    )
    (tmp_path / "maps.onnx").write_bytes(model.SerializeToString())
    packed = pack_onnx(
        tmp_path / "maps.onnx", tmp_path / "out", name="m", labels=["stay", "leave"], benign_label="stay", output="maps"
    )
    model_of_maps = load_model(packed)
    decision = model_of_maps.decide({"p": np.array([[0.2, 0.8]], np.float32)})
    assert (decision.label, round(decision.score, 3), decision.positive) == ("leave", 0.8, True)
    strangers = pack_onnx(tmp_path / "maps.onnx", tmp_path / "other", name="m", labels=["a", "b", "c"], output="maps")
    with pytest.raises(ModelMismatchError, match="no probability for"):
        load_model(strangers)


def test_a_model_for_something_else_does_not_fit(bundle: Bundle, tmp_path: Path) -> None:
    files = {name: bundle.path(name).read_bytes() for name in bundle.manifest.files}
    manifest = bundle.manifest.model_copy(update={"workload": "network", "features": "flow.v1"})
    model = load_model(write_bundle(tmp_path / "network", manifest, files))
    check_fit(model, "network", "flow.v1")
    check_fit(model, "network", "")
    with pytest.raises(ModelMismatchError, match="'network'"):
        check_fit(model, "table", "")
    with pytest.raises(ModelMismatchError, match=r"flow\.v2"):
        check_fit(model, "network", "flow.v2")


def test_a_manifest_is_what_its_id_says(bundle: Bundle) -> None:
    assert sha256_hex(bundle.path(MANIFEST).read_bytes()) == bundle.bundle_id
    assert json.loads(bundle.manifest_bytes)["name"] == "flows"
