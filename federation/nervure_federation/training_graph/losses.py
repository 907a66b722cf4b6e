"""The objectives a training graph can minimise, each fused with the operator that ends the forward model.

A loss names the operator it expects at the model's output and starts from that operator's *input*, so the unstable
pair log(softmax(z)) never exists: the value comes from LogSoftmax and the gradient is ``softmax(z) - onehot(y)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from nervure_federation.training_graph import names
from nervure_federation.training_graph.registry import attributes
from nervure_federation.training_graph.writer import GraphWriter, Shape


@dataclass(frozen=True, slots=True)
class Objective:
    """Where a loss has been written: its value and its gradient by the scores it started from."""

    value: str
    gradient: str


@dataclass(frozen=True, slots=True)
class Loss:
    """One objective.

    Attributes:
        ends_with: The operator that must make the model's output; training starts from its first input.
        check: Given that operator and the static shape of its input, says what isn't covered, or ``None``.
        labels: Describes the input ``y``, given the shape of the scores.
        write: Writes value and gradient, given the names of the scores and of the labels.
    """

    ends_with: str
    check: Callable[[NodeProto, Shape | None], str | None]
    labels: Callable[[Shape], ValueInfoProto]
    write: Callable[[GraphWriter, str, str], Objective]


def _check_softmax(node: NodeProto, shape: Shape | None) -> str | None:
    if shape is None or len(shape) != 2 or not isinstance(shape[1], int):
        return f"the model's output must be [N, C] with a known number of classes, not {shape}"
    if attributes(node).get("axis", -1) not in (-1, 1):
        return "the Softmax at the model's output must run over the last axis"
    return None


def _class_labels(scores: Shape) -> ValueInfoProto:
    return helper.make_tensor_value_info(names.LABELS, TensorProto.INT64, [scores[0]])


def _softmax_cross_entropy(writer: GraphWriter, scores: str, labels: str) -> Objective:
    """Mean of ``-log softmax(scores)[label]`` over the rows whose label is one of the classes.

    Rows with another label (-1, say) weigh nothing, neither in the value nor in the gradient, so a short batch can be
    padded; a batch without any labelled row has loss 0 and gradient 0, never NaN.
    """
    classes = writer.shape(scores)[1]
    assert isinstance(classes, int), "checked before"
    column = writer.emit("Unsqueeze", [labels, writer.axes([1])])
    hit = writer.emit("Equal", [column, writer.constant(np.arange(classes)[None], np.int64)])
    truth = writer.emit("CastLike", [hit, scores])
    counted = writer.emit("ReduceSum", [truth, writer.axes([1])], keepdims=1)
    rows = writer.emit("ReduceSum", [counted], keepdims=0)
    share = writer.emit("Div", [writer.scalar(1), writer.emit("Max", [rows, writer.scalar(1)])])

    surprise = writer.emit("Mul", [truth, writer.emit("LogSoftmax", [scores], axis=-1)])
    value = writer.emit("Neg", [writer.emit("Mul", [writer.emit("ReduceSum", [surprise], keepdims=0), share])])

    guess = writer.emit("Mul", [writer.emit("Softmax", [scores], axis=-1), counted])
    gradient = writer.emit("Mul", [writer.emit("Sub", [guess, truth]), share])
    return Objective(value, gradient)


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": Loss("Softmax", _check_softmax, _class_labels, _softmax_cross_entropy),
}
"""The objectives, by the name that manifests and recipes use."""
