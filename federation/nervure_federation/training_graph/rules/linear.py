"""Gradients of matrix products: Gemm and MatMul.

With ``Y = A B`` and ``dY`` the gradient of the objective by ``Y``: ``dA = dY Bᵀ`` and ``dB = Aᵀ dY``. Gemm's transposes
are folded into the Gemm that computes the gradient, so nothing is ever transposed in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto

from nervure_federation.training_graph.broadcasting import broadcast_shape, sum_to, unclear
from nervure_federation.training_graph.registry import Step, attributes, rule
from nervure_federation.training_graph.writer import GraphWriter, Shape


def _gemm_result(node: NodeProto, left: Shape, right: Shape) -> Shape:
    flags = attributes(node)
    return (left[1 if flags.get("transA") else 0], right[0 if flags.get("transB") else 1])


def _check_gemm(node: NodeProto, shapes: Sequence[Shape | None]) -> str | None:
    if any(shape is None for shape, name in zip(shapes, node.input, strict=True) if name):
        return "the rank of an input is unknown"
    left, right, *bias = shapes
    assert left is not None
    assert right is not None
    if bias and bias[0] is not None and unclear(_gemm_result(node, left, right), bias[0]):
        return "it can't be told from static shapes how the bias is broadcast"
    return None


@rule("Gemm", check=_check_gemm, weights=(1, 2))
def gemm(step: Step) -> list[str | None]:
    """``Y = alpha A' B' + beta C`` with ``A' = Aᵀ`` if transA and ``B' = Bᵀ`` if transB."""
    writer, flags, dy = step.writer, attributes(step.node), step.gradient
    left, right = step.node.input[:2]
    trans_a, trans_b = int(flags.get("transA", 0)), int(flags.get("transB", 0))
    alpha, beta = float(flags.get("alpha", 1.0)), float(flags.get("beta", 1.0))

    def product(first: str, second: str, first_t: int, second_t: int) -> str:
        return writer.emit("Gemm", [first, second], alpha=alpha, transA=first_t, transB=second_t)

    found: list[str | None] = [None] * len(step.node.input)
    if step.needed[0]:
        found[0] = product(right, dy, trans_b, 1) if trans_a else product(dy, right, 0, 1 - trans_b)
    if step.needed[1]:
        found[1] = product(dy, left, 1, trans_a) if trans_b else product(left, dy, 1 - trans_a, 0)
    if len(found) > 2 and step.needed[2]:
        result = _gemm_result(step.node, writer.shape(left), writer.shape(right))
        bias = sum_to(writer, dy, result, writer.shape(step.node.input[2]))
        found[2] = bias if beta == 1.0 else writer.emit("Mul", [bias, writer.scalar(beta)])
    return found


def _matmul_result(left: Shape, right: Shape) -> Shape | None:
    stack = broadcast_shape(left[:-2], right[:-2]) if left[:-2] or right[:-2] else ()
    return None if stack is None else (*stack, left[-2], right[-1])


def _check_matmul(node: NodeProto, shapes: Sequence[Shape | None]) -> str | None:
    left, right = shapes
    if left is None or right is None:
        return "the rank of an input is unknown"
    if min(len(left), len(right)) < 2:
        return "an operand is a vector"
    result = _matmul_result(left, right)
    if result is None or unclear(result[:-2], left[:-2]) or unclear(result[:-2], right[:-2]):
        return "it can't be told from static shapes how the operands are broadcast"
    return None


def _transposed(writer: GraphWriter, name: str, rank: int) -> str:
    return writer.emit("Transpose", [name], perm=[*range(rank - 2), rank - 1, rank - 2])


@rule("MatMul", check=_check_matmul, weights=(1,))
def matmul(step: Step) -> list[str | None]:
    """``Y = A B`` over the last two axes; axes before them are broadcast and summed back."""
    writer, dy = step.writer, step.gradient
    names = list(step.node.input)
    left, right = (writer.shape(name) for name in names)
    result = _matmul_result(left, right)
    assert result is not None, "checked before"
    found: list[str | None] = [None, None]
    if step.needed[0]:
        product = writer.emit("MatMul", [dy, _transposed(writer, names[1], len(right))])
        found[0] = sum_to(writer, product, (*result[:-2], *left[-2:]), left)
    if step.needed[1]:
        product = writer.emit("MatMul", [_transposed(writer, names[0], len(left)), dy])
        found[1] = sum_to(writer, product, (*result[:-2], *right[-2:]), right)
    return found
