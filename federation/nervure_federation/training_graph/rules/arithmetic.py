"""Gradients of elementwise arithmetic with ONNX's broadcasting: Add, Sub, Mul, Neg."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto

from nervure_federation.training_graph.broadcasting import broadcast_shape, sum_to, unclear
from nervure_federation.training_graph.registry import Step, rule
from nervure_federation.training_graph.writer import Shape


def _check_broadcast(node: NodeProto, shapes: Sequence[Shape | None]) -> str | None:
    known = [shape for shape in shapes if shape is not None]
    result = broadcast_shape(*known) if len(known) == len(shapes) else None
    if result is None or any(unclear(result, shape) for shape in known):
        return "it can't be told from static shapes how the operands are broadcast"
    return None


def _back(step: Step, gradients: Sequence[str | None]) -> list[str | None]:
    """Sum each operand's elementwise gradient back to the operand's own shape."""
    shapes = [step.writer.shape(name) for name in step.node.input]
    result = broadcast_shape(*shapes)
    assert result is not None, "checked before"
    return [
        None if gradient is None else sum_to(step.writer, gradient, result, shape)
        for gradient, shape in zip(gradients, shapes, strict=True)
    ]


@rule("Add", check=_check_broadcast)
def add(step: Step) -> list[str | None]:
    """``Y = A + B``."""
    return _back(step, [step.gradient if needed else None for needed in step.needed])


@rule("Sub", check=_check_broadcast)
def sub(step: Step) -> list[str | None]:
    """``Y = A - B``."""
    minus = step.writer.emit("Neg", [step.gradient]) if step.needed[1] else None
    return _back(step, [step.gradient if step.needed[0] else None, minus])


@rule("Mul", check=_check_broadcast)
def mul(step: Step) -> list[str | None]:
    """``Y = A B``: each factor's gradient is the other factor."""
    first, second = step.node.input
    return _back(
        step,
        [
            step.writer.emit("Mul", [step.gradient, other]) if needed else None
            for other, needed in zip((second, first), step.needed, strict=True)
        ],
    )


@rule("Neg")
def neg(step: Step) -> list[str | None]:
    """``Y = -A``."""
    return [step.writer.emit("Neg", [step.gradient])]
