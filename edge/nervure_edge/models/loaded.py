"""A model that is ready to decide: one onnxruntime session on one thread, checked against its manifest.

Rules:
- A model is only handed out after its probe: the bundle's own rows, or rows of zeros, went through session and decision
  and gave usable results.
- The session is the bundle's file as it is. Never ``SessionOptions.add_initializer``: with graph optimisation on it
  silently mixes old and new weights.
- onnxruntime is imported here, not by the agent's start: a device without a model does not pay for it.

>>> model = load_model(read_bundle(folder))  # doctest: +SKIP
>>> model.decide({"x": row}).label  # doctest: +SKIP
'benign'
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from nervure_core.bundle import INFER, PROBE, TRAIN, Bundle, BundleError, Manifest, TensorSpec
from nervure_core.messages import Running
from nervure_edge.decision import Decider, Decision, UnusableOutputError, make_decider
from nervure_edge.workloads.contract import Features, ModelInput

if TYPE_CHECKING:
    import onnxruntime as ort

MAX_PROBE_BYTES = 16 << 20
_DTYPES = {"string": np.dtype(object)}


class ModelMismatchError(BundleError):
    """A model is not what its manifest says, or does not survive its probe."""

    code = "model_mismatch"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model, ready."""

    bundle: Bundle
    session: ort.InferenceSession
    decide: Callable[[Features], Decision]
    """From one row to its decision; raises ``UnusableOutputError``, and whatever onnxruntime raises for a bad row."""
    inputs: tuple[ModelInput, ...]

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.bundle.manifest

    @property
    def running(self) -> Running:
        """The model as the wire names it."""
        return Running(self.manifest.name, self.manifest.release, self.bundle.bundle_id)

    @property
    def can_train(self) -> bool:
        """Whether the bundle brings a training step."""
        return self.manifest.training is not None and self.bundle.has(TRAIN) and bool(self.manifest.trainable)


def load_model(bundle: Bundle, *, probe_rows: int = 8) -> LoadedModel:
    """Open a session, check it against the manifest and probe it.

    Args:
        bundle: Verified files.
        probe_rows: Rows of zeros where the bundle brings no probe.

    Raises:
        InputError: onnxruntime refuses the file.
        ModelMismatchError: The model's inputs or outputs are not the manifest's, or the probe fails.
    """
    from nervure_core.bundle.pack import describe, open_model

    manifest = bundle.manifest
    session = open_model(bundle.path(INFER))
    _same("input", manifest.inputs, describe(session.get_inputs()))
    _same("output", manifest.outputs, describe(session.get_outputs()))
    decider = make_decider(manifest.decision, manifest.labels, manifest.benign_label)
    decider = _of_maps(decider, manifest) if _is_maps(manifest) else decider
    model = LoadedModel(bundle, session, _bound(session, manifest.decision.output, decider), _inputs(manifest))
    _probe(model, decider, probe_rows)
    return model


def _is_maps(manifest: Manifest) -> bool:
    """Whether the deciding output is a sequence of maps, as scikit-learn's converter writes probabilities."""
    return any(item.name == manifest.decision.output and item.dtype.startswith("seq(map(") for item in manifest.outputs)


def _of_maps(decider: Decider, manifest: Manifest) -> Decider:
    """Return ``decider`` for an output that is a map from label, or its number, to probability for each row."""
    labels = manifest.labels

    def decide(output: Any) -> Decision:
        found = cast("dict[str | int, float]", output[0])
        try:
            row = [found[label] if label in found else found[index] for index, label in enumerate(labels)]
        except KeyError as error:
            raise UnusableOutputError(
                f"no probability for {error}, the model gives {', '.join(map(str, found))}"
            ) from error
        return decider(np.array([row], np.float32))

    return decide


def _bound(session: ort.InferenceSession, output: str, decider: Decider) -> Callable[[Features], Decision]:
    run = cast("Callable[[list[str], Features], list[Any]]", session.run)
    # Asking for one output by name spares onnxruntime the others and its Python wrapper the look-up.
    names = [output]

    def decide(features: Features) -> Decision:
        return decider(run(names, features)[0])

    return decide


def _same(kind: str, wanted: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...]) -> None:
    by_name = {item.name: item for item in found}
    for item in wanted:
        other = by_name.pop(item.name, None)
        if other is None:
            raise ModelMismatchError(
                f"manifest names {kind} {item.name!r}, the model has {', '.join(spec.name for spec in found)}",
                hint="make the bundle anew from this model",
            )
        fits = len(item.shape) == len(other.shape) and all(
            a == b or -1 in (a, b) for a, b in zip(item.shape, other.shape, strict=True)
        )
        # Outputs of scikit-learn may be sequences of maps: no shape to compare.
        if item.dtype != other.dtype or not (fits or item.dtype.startswith("seq")):
            raise ModelMismatchError(
                f"{kind} {item.name!r} is {item.dtype}{list(item.shape)} in the manifest and "
                f"{other.dtype}{list(other.shape)} in the model",
                hint="make the bundle anew from this model",
            )
    if kind == "input" and by_name:
        raise ModelMismatchError(
            f"the model wants input {next(iter(by_name))!r}, which the manifest does not name",
            hint="make the bundle anew from this model",
        )


def _inputs(manifest: Manifest) -> tuple[ModelInput, ...]:
    def columns(index: int, spec: TensorSpec) -> tuple[str, ...]:
        if len(manifest.inputs) == 1:
            return manifest.columns if len(spec.shape) > 1 else manifest.columns[:1]
        return manifest.columns[index : index + 1] if len(manifest.columns) == len(manifest.inputs) else ()

    return tuple(
        ModelInput(
            spec.name,
            spec.dtype,
            tuple(None if extent < 0 else extent for extent in spec.shape),
            columns(index, spec),
        )
        for index, spec in enumerate(manifest.inputs)
    )


def _probe(model: LoadedModel, decider: Decider, rows: int) -> None:
    feed = _own_probe(model.bundle) if model.bundle.has(PROBE) else _zeros(model.manifest, rows)
    name = model.manifest.decision.output
    try:
        output = model.session.run([name], feed)[0]
    except Exception as error:
        # onnxruntime's exceptions have no common base; whatever it is, this model must not become the running one.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelMismatchError(f"probe of {model.manifest.name} failed: {reason}") from error
    expected = len(next(iter(feed.values())))
    found: Any = output
    if _rows_of(output, manifest=model.manifest) != expected:
        raise ModelMismatchError(f"probe of {model.manifest.name}: output {name!r} has not one row per row of input")
    for index in range(expected):
        try:
            decider(found[index : index + 1])
        except (UnusableOutputError, ValueError, IndexError, TypeError) as error:
            raise ModelMismatchError(f"probe of {model.manifest.name}, row {index}: {error}") from error


def _rows_of(output: object, *, manifest: Manifest) -> int | None:
    """Return how many rows an output has; None for what has no rows."""
    if isinstance(output, np.ndarray):
        return len(output) if output.ndim else None
    return len(cast("list[object]", output)) if isinstance(output, list) and _is_maps(manifest) else None


def _own_probe(bundle: Bundle) -> Features:
    path = bundle.path(PROBE)
    if path.stat().st_size > MAX_PROBE_BYTES:
        raise ModelMismatchError(f"{path}: probe is larger than {MAX_PROBE_BYTES} bytes")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            feed = {spec.name: np.asarray(arrays[spec.name]) for spec in bundle.manifest.inputs}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ModelMismatchError(f"{path}: not a probe for this model: {error}") from error
    return {
        spec.name: feed[spec.name].astype(_DTYPES.get(spec.dtype) or np.dtype(spec.dtype), copy=False)
        for spec in bundle.manifest.inputs
    }


def _zeros(manifest: Manifest, rows: int) -> Features:
    fixed = next((spec.shape[0] for spec in manifest.inputs if spec.shape and spec.shape[0] > 0), rows)
    feed: Features = {}
    for spec in manifest.inputs:
        free = max(len(manifest.columns), 1) if len(manifest.inputs) == 1 else 1
        shape = (fixed, *(extent if extent > 0 else free for extent in spec.shape[1:]))
        if spec.dtype == "string":
            feed[spec.name] = np.full(math.prod(shape), "", dtype=object).reshape(shape)
        else:
            feed[spec.name] = np.zeros(shape, np.dtype(spec.dtype))
    return feed
