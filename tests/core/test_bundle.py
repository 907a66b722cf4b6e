"""Bundles: whatever is not exactly what the manifest says is refused, by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nervure_core.bundle import (
    INFER,
    MANIFEST,
    WEIGHTS,
    Bundle,
    BundleError,
    DecisionKind,
    DecisionSpec,
    Lineage,
    Manifest,
    TensorSpec,
    arrays_to_weights,
    pack_onnx,
    read_bundle,
    with_new_weights,
    write_bundle,
)
from nervure_core.bundle.weights import layout_of
from nervure_core.errors import ConfigurationError, InputError, WorldError

WEIGHT = np.arange(8, dtype=np.float32).reshape(4, 2)


def softmax_model(path: Path) -> Path:
    """Write x[N,4] -> probabilities[N,2]."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["z"]), helper.make_node("Softmax", ["z"], ["probabilities"])],
        "softmax",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(WEIGHT, "W")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    return path


def manifest(**changes: object) -> Manifest:
    """Return a manifest with one tensor."""
    fields: dict[str, object] = {
        "name": "toy",
        "release": 1,
        "inputs": [TensorSpec(name="x", dtype="float32", shape=(-1, 4))],
        "outputs": [TensorSpec(name="p", dtype="float32", shape=(-1, 2))],
        "labels": ["benign", "attack"],
        "benign_label": "benign",
        "decision": DecisionSpec(output="p", kind=DecisionKind.SOFTMAX),
        "tensors": layout_of([("W", WEIGHT), ("b", np.zeros(3, np.float64))]),
        "trainable": ["W"],
        **changes,
    }
    return Manifest.model_validate(fields)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    spec = manifest()
    weights = arrays_to_weights(spec, {"W": WEIGHT, "b": np.ones(3)})
    return write_bundle(tmp_path / "bundle", spec, {INFER: b"graph", WEIGHTS: weights})


def test_a_bundle_comes_back(bundle: Bundle) -> None:
    found = read_bundle(bundle.folder)
    assert found == bundle
    np.testing.assert_array_equal(found.weights()["W"], WEIGHT)
    np.testing.assert_array_equal(found.weights()["b"], np.ones(3))


def test_new_weights_change_the_weights_file_and_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    changed = with_new_weights(bundle, tmp_path / "next", {"W": WEIGHT + 1}, release=2, lineage=Lineage(round=1))
    before, after = bundle.manifest.files, changed.manifest.files
    assert {name for name in before if before[name] != after[name]} == {WEIGHTS}
    assert changed.bundle_id != bundle.bundle_id
    np.testing.assert_array_equal(read_bundle(tmp_path / "next").weights()["W"], WEIGHT + 1)
    np.testing.assert_array_equal(read_bundle(tmp_path / "next").weights()["b"], np.ones(3))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"W": WEIGHT.T}, r"float32\[2, 4\], not float32\[4, 2\]"),
        ({"W": WEIGHT.astype(np.float64)}, "float64"),
        ({"W": WEIGHT * np.float32("nan")}, "not finite"),
        ({"U": WEIGHT}, r"unknown \['U'\]"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    bundle: Bundle, tmp_path: Path, arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        with_new_weights(bundle, tmp_path / "next", arrays, release=2, lineage=Lineage())
    assert not (tmp_path / "next").exists()


def test_a_file_changed_after_the_bundle_was_made_is_named(bundle: Bundle) -> None:
    (bundle.folder / INFER).write_bytes(b"grapH")
    with pytest.raises(BundleError, match=r"infer\.onnx: SHA-256 is"):
        read_bundle(bundle.folder)
    (bundle.folder / INFER).write_bytes(b"longer than before")
    with pytest.raises(BundleError, match="18 bytes, the manifest says 5"):
        read_bundle(bundle.folder)
    (bundle.folder / INFER).unlink()
    with pytest.raises(BundleError, match=r"infer\.onnx: No such file"):
        read_bundle(bundle.folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relase": 3}, "relase: unknown key"),
        ({"release": 0}, "release: found 0"),
        ({"release": "many"}, "release: found 'many'"),
        ({"name": "../up"}, "name: found '../up'"),
        ({"format": 2}, "format: found 2"),
        ({"benign_label": "calm"}, "benign_label 'calm' is not among the labels"),
        ({"trainable": ["V"]}, r"trainable names \['V'\]"),
        ({"files": {"../../etc/passwd": {"sha256": "0" * 64, "size": 1}}}, "files"),
        ({"files": {}}, "do not name infer.onnx"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_manifest_that_is_wrong_names_the_field(bundle: Bundle, change: dict[str, object], message: str) -> None:
    path = bundle.folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BundleError, match=message):
        read_bundle(bundle.folder)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"{}" + b" " * (1 << 20)])
def test_a_manifest_that_is_no_manifest_is_refused(bundle: Bundle, data: bytes) -> None:
    (bundle.folder / MANIFEST).write_bytes(data)
    with pytest.raises(BundleError, match="manifest"):
        read_bundle(bundle.folder)


def test_a_folder_without_a_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle here") as caught:
        read_bundle(tmp_path)
    assert "nervure models pack" in caught.value.hint


def test_writing_replaces_nothing_and_leaves_nothing_behind(bundle: Bundle) -> None:
    before = bundle.folder.joinpath(MANIFEST).read_bytes()
    with pytest.raises(BundleError, match="can't put a bundle here"):
        write_bundle(bundle.folder, manifest(release=9), {INFER: b"other"})
    assert bundle.folder.joinpath(MANIFEST).read_bytes() == before
    assert [path.name for path in bundle.folder.parent.iterdir()] == ["bundle"]


def test_a_model_nobody_here_made_is_packed(tmp_path: Path) -> None:
    model = softmax_model(tmp_path / "model.onnx")
    packed = pack_onnx(model, tmp_path / "out", name="toy", labels=["benign", "attack"], benign_label="benign")
    assert packed.manifest.decision.kind is DecisionKind.SOFTMAX
    assert packed.manifest.inputs[0].shape == (-1, 4)
    assert read_bundle(tmp_path / "out") == packed


def test_packing_refuses_what_can_not_work(tmp_path: Path) -> None:
    model = softmax_model(tmp_path / "model.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model.read_bytes()[:40])
    with pytest.raises(InputError, match=r"broken\.onnx: not a model that onnxruntime can run"):
        pack_onnx(broken, tmp_path / "out", name="toy")
    with pytest.raises(InputError, match=r"absent\.onnx: No such file"):
        pack_onnx(tmp_path / "absent.onnx", tmp_path / "out", name="toy")
    with pytest.raises(ConfigurationError, match="output 'zz' is not among"):
        pack_onnx(model, tmp_path / "out", name="toy", output="zz")
    with pytest.raises(ConfigurationError, match="holds 2 probabilities, and there are 3 labels"):
        pack_onnx(model, tmp_path / "out", name="toy", labels=["a", "b", "c"])
    with pytest.raises(ConfigurationError, match="name: found 'Toy!'"):
        pack_onnx(model, tmp_path / "out", name="Toy!")
    assert not (tmp_path / "out").exists()


def test_running_a_model_reports_to_nobody(tmp_path: Path) -> None:
    home, model = tmp_path / "home", softmax_model(tmp_path / "model.onnx")
    home.mkdir()
    program = (
        f"from nervure_core.bundle.pack import open_model; from pathlib import Path; open_model(Path({str(model)!r}))"
    )
    # Without the variable of this process, which has imported the package already.
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", program], env={**environment, "HOME": str(home)}, check=True)
    assert list(home.rglob("*onnxruntime*")) == []


def test_a_place_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorldError, match=r"file/out: can't be written"):
        pack_onnx(softmax_model(tmp_path / "model.onnx"), tmp_path / "file" / "out", name="toy")
