"""Gradients of operators that only rename or rearrange: Identity, Flatten, Reshape."""

from __future__ import annotations

from nervure_federation.training_graph.registry import Step, rule


@rule("Identity")
def identity(step: Step) -> list[str | None]:
    """``Y = X``."""
    return [step.gradient]


@rule("Flatten", "Reshape")
def reshape(step: Step) -> list[str | None]:
    """Give the gradient the input's shape again; the shape itself has no gradient."""
    writer = step.writer
    back = writer.emit("Reshape", [step.gradient, writer.emit("Shape", [step.node.input[0]])])
    return [back, *[None] * (len(step.node.input) - 1)]
