"""A bundle from a model that nobody here made: the manifest is read off the model by onnxruntime.

Which output decides, and how, is guessed from names and shapes as exporters write them (scikit-learn: ``label`` and
``probabilities``; others: one float output) and can be told instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from nervure_core.bundle.manifest import DecisionKind, DecisionSpec, Manifest, TensorSpec
from nervure_core.bundle.store import INFER, Bundle, write_bundle
from nervure_core.errors import ConfigurationError, InputError
from nervure_core.validation import first_problem

if TYPE_CHECKING:
    import onnxruntime as ort

_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "string",
}
_MAX_MODEL_BYTES = 512 << 20


class _Value(Protocol):
    """What onnxruntime says of one input or output."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> str: ...

    @property
    def shape(self) -> Sequence[Any] | None: ...


def open_model(path: Path) -> ort.InferenceSession:
    """Return a session of the model at ``path`` on one CPU thread.

    Raises:
        InputError: onnxruntime refuses the file; the first line of its reason is in the message.
    """
    import onnxruntime as ort  # 30 MiB that a device without a model need not carry

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime raises a dozen pybind types without a common base; each means "this file can't run here".
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path}: not a model that onnxruntime can run: {reason}", hint="check the file with its exporter"
        ) from error


def describe(values: Sequence[_Value]) -> tuple[TensorSpec, ...]:
    """Return the specs of a session's inputs or outputs; a dimension without a number is -1."""
    return tuple(
        TensorSpec(
            name=value.name,
            dtype=_TYPES.get(value.type, value.type),
            shape=tuple(extent if isinstance(extent, int) and extent > 0 else -1 for extent in value.shape or ()),
        )
        for value in values
    )


def pack_onnx(
    model: Path,
    out: Path,
    *,
    name: str,
    release: int = 1,
    workload: str = "table",
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    benign_label: str | None = None,
    output: str | None = None,
    kind: DecisionKind | None = None,
    threshold: float = 0.5,
) -> Bundle:
    """Write a bundle for the ONNX file ``model`` into the new folder ``out``.

    Args:
        model: One file with its weights inside.
        out: Must not exist yet.
        name: Name of the model family.
        release: From 1.
        workload: Workload the model is for.
        columns: Columns of a vector input, in order; empty: the inputs' own names.
        labels: Names of the classes, in order.
        benign_label: The label that is not a finding.
        output: The output that decides; default: guessed.
        kind: How it decides; default: guessed.
        threshold: Score from which a finding is positive, 0 to 1.

    Raises:
        InputError: The file is missing, too large, or onnxruntime refuses it.
        ConfigurationError: The arguments contradict the model.
        WorldError: The bundle can't be written.
    """
    try:
        size = model.stat().st_size
    except OSError as error:
        raise InputError(f"{model}: {error.strerror}", hint="give the path of an ONNX file") from error
    if size > _MAX_MODEL_BYTES:
        raise InputError(f"{model}: {size} bytes, more than {_MAX_MODEL_BYTES}")
    session = open_model(model)
    inputs, outputs = describe(session.get_inputs()), describe(session.get_outputs())
    names = [item.name for item in outputs]
    if output is not None and output not in names:
        raise ConfigurationError(
            f"output {output!r} is not among the model's outputs {names}", hint="give one of them as --output"
        )
    chosen = next((item for item in outputs if item.name == output), None) or _deciding(outputs, len(labels))
    try:
        manifest = Manifest(
            name=name,
            release=release,
            workload=workload,
            columns=tuple(columns),
            inputs=inputs,
            outputs=outputs,
            labels=tuple(labels),
            benign_label=benign_label,
            decision=DecisionSpec(output=chosen.name, kind=kind or _kind(chosen, len(labels)), threshold=threshold),
        )
    except ValidationError as error:
        raise ConfigurationError(
            f"{model}: {first_problem(error)}", hint="see `nervure models pack --help`; classes are named by --label"
        ) from error
    return write_bundle(out, manifest, {INFER: model.read_bytes()})


def _deciding(outputs: Sequence[TensorSpec], classes: int) -> TensorSpec:
    wanted = "probab|score|softmax" if classes else "label|class"
    named = [item for item in outputs if re.search(wanted, item.name, re.IGNORECASE) and item.dtype[:3] != "seq"]
    return (named or list(outputs))[0]


def _kind(output: TensorSpec, classes: int) -> DecisionKind:
    if output.dtype in ("string", "int64", "int32"):
        return DecisionKind.LABEL
    if classes >= 2:
        return DecisionKind.SIGMOID if output.shape[-1:] == (1,) else DecisionKind.SOFTMAX
    return DecisionKind.RAW
