"""Undoing ONNX's broadcasting: what was repeated on the way forward is summed on the way back.

Rule: which axes were repeated is decided when the graph is built, from static shapes. Two dimensions are the same when
both are the same number or carry the same symbol; where that can't be told, :func:`unclear` says so and the model is
refused, since guessing wrong would train on silently wrong gradients.

>>> unclear(("N", 16), (16,)), unclear(("N", 16), ("M", 16))
(False, True)
>>> repeated_axes(("N", 16), (16,)), repeated_axes(("N", 16), ("N", 1))
((0,), (1,))
"""

from __future__ import annotations

from nervure_federation.training_graph.writer import GraphWriter, Shape


def unclear(result: Shape, operand: Shape) -> bool:
    """Say whether it can't be told how ``operand`` was broadcast to ``result``."""
    if len(operand) > len(result):
        return True
    tail = result[len(result) - len(operand) :]
    return any(have != 1 and (have is None or have != want) for have, want in zip(operand, tail, strict=True))


def repeated_axes(result: Shape, operand: Shape) -> tuple[int, ...]:
    """List the axes of ``result`` along which ``operand`` was repeated."""
    lead = len(result) - len(operand)
    inner = (
        lead + axis
        for axis, (have, want) in enumerate(zip(operand, result[lead:], strict=True))
        if have == 1 and want != 1
    )
    return (*range(lead), *inner)


def broadcast_shape(*operands: Shape) -> Shape | None:
    """Give the shape that operands broadcast to, or ``None`` where two dimensions can't be told apart."""
    rank = max(map(len, operands))
    result: list[int | str | None] = []
    for axis in range(rank):
        dims = {shape[axis - rank] for shape in operands if len(shape) >= rank - axis} - {1}
        if len(dims) > 1 or None in dims:
            return None
        result.append(dims.pop() if dims else 1)
    return tuple(result)


def sum_to(writer: GraphWriter, gradient: str, result: Shape, operand: Shape) -> str:
    """Sum a gradient of shape ``result`` back to the shape of the operand that was repeated."""
    lead = len(result) - len(operand)
    axes = repeated_axes(result, operand)
    inner = [axis for axis in axes if axis >= lead]
    if inner:
        gradient = writer.emit("ReduceSum", [gradient, writer.axes(inner)], keepdims=1)
    if lead:
        gradient = writer.emit("ReduceSum", [gradient, writer.axes(range(lead))], keepdims=0)
    return gradient
