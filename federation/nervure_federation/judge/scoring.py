"""Runs a bundle over held-out sets, with the same runtime and the same threshold that agents use.

The score of a flow is its probability of not being benign (softmax outputs) or of being positive (sigmoid outputs); it is
a finding when the score reaches the manifest's threshold. Outputs that are labels or plain numbers can't be judged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nervure_core.bundle import INFER, WEIGHTS, Bundle, DecisionKind, Manifest, arrays_to_weights
from nervure_core.errors import InputError
from nervure_federation.judge.verdict import LEAST_BENIGN, Counts, Verdict

Heldout = Mapping[str, tuple[NDArray[np.float32], NDArray[np.int64]]]
"""Per site the features [N, F] and the index of each flow's true label [N]."""

ROWS_AT_ONCE = 4096


def judge(bundle: Bundle, heldout: Heldout, *, least_benign: int = LEAST_BENIGN) -> Verdict:
    """Judge a bundle on held-out sets.

    Args:
        bundle: What would be deployed.
        heldout: Flows that no agent trained on, by site.
        least_benign: A site with fewer benign flows can't be the worst one.

    Raises:
        InputError: The bundle's output can't be judged, or a held-out set doesn't fit the bundle.
    """
    return _judge(bundle.path(INFER), bundle.manifest, heldout, least_benign)


def judge_weights(
    bundle: Bundle, arrays: Mapping[str, NDArray[np.generic]], heldout: Heldout, *, least_benign: int = LEAST_BENIGN
) -> Verdict:
    """Judge a bundle as if it held these weights; tensors that aren't named keep theirs.

    Raises:
        InputError: A tensor doesn't fit the layout or isn't finite, or as :func:`judge` says.
    """
    weights = arrays_to_weights(bundle.manifest, {**bundle.weights(), **arrays})
    # A folder with the two files, not SessionOptions.add_initializer: with graph optimisation on, that mixes old
    # weights that were folded into constants with new ones, silently.
    with tempfile.TemporaryDirectory(prefix="nervure-judge-") as name:
        folder = Path(name)
        (folder / INFER).write_bytes(bundle.path(INFER).read_bytes())
        (folder / WEIGHTS).write_bytes(weights)
        return _judge(folder / INFER, bundle.manifest, heldout, least_benign)


def _judge(model: Path, manifest: Manifest, heldout: Heldout, least_benign: int) -> Verdict:
    score, truth = _score_rule(manifest), _truth_rule(manifest)
    session = _open(model)
    sites = {
        site: _count(_run(session, manifest, site, x), y, score, truth, manifest.decision.threshold)
        for site, (x, y) in heldout.items()
    }
    return Verdict.of(sites, least_benign=least_benign)


def _open(model: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _score_rule(manifest: Manifest) -> Callable[[NDArray[Any]], NDArray[Any]]:
    if manifest.decision.kind is DecisionKind.SIGMOID:
        return lambda output: output.reshape(len(output), -1)[:, -1]
    if manifest.decision.kind is not DecisionKind.SOFTMAX:
        raise InputError(
            f"{manifest.name}: an output of kind {manifest.decision.kind.value!r} has no score to judge",
            hint="judge models that decide by softmax or sigmoid, or run rounds without a judge",
        )
    benign = _benign(manifest)
    return lambda output: 1.0 - output[:, benign]


def _truth_rule(manifest: Manifest) -> Callable[[NDArray[np.int64]], NDArray[np.bool_]]:
    benign = _benign(manifest) if manifest.benign_label is not None else 0
    return lambda labels: labels != benign


def _benign(manifest: Manifest) -> int:
    if manifest.benign_label is None:
        raise InputError(f"{manifest.name}: its manifest names no benign label, so nothing is a finding")
    return manifest.labels.index(manifest.benign_label)


def _run(
    session: onnxruntime.InferenceSession, manifest: Manifest, site: str, x: NDArray[np.float32]
) -> NDArray[np.float32]:
    spec = manifest.inputs[0]
    if (
        len(manifest.inputs) != 1
        or x.ndim != len(spec.shape)
        or any(want not in (-1, have) for want, have in zip(spec.shape[1:], x.shape[1:], strict=True))
    ):
        raise InputError(
            f"held-out set of {site!r} has rows of shape {x.shape[1:]}, the model {manifest.name} wants "
            f"{[(item.name, item.shape[1:]) for item in manifest.inputs]}",
            hint="make the held-out sets with the feature schema of this model",
        )
    chunks = [
        np.asarray(session.run([manifest.decision.output], {spec.name: x[start : start + ROWS_AT_ONCE]})[0])
        for start in range(0, len(x), ROWS_AT_ONCE)
    ]
    return np.concatenate(chunks) if chunks else np.zeros((0, max(len(manifest.labels), 1)), np.float32)


def _count(
    output: NDArray[Any],
    labels: NDArray[np.int64],
    score: Callable[[NDArray[Any]], NDArray[Any]],
    truth: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
    threshold: float,
) -> Counts:
    scores, attack = score(output), truth(labels)
    broken = ~np.isfinite(scores)
    found = (scores >= threshold) & ~broken
    return Counts(
        tp=int((found & attack).sum()),
        fp=int((found & ~attack).sum()),
        tn=int((~found & ~attack).sum()),
        fn=int((~found & attack).sum()),
        broken=int(broken.sum()),
    )
