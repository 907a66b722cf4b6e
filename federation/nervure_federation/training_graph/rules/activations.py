"""Gradients of activations: Relu, Tanh, Sigmoid. Each is written on the activation's *output*, which is there already."""

from __future__ import annotations

from nervure_federation.training_graph.registry import Step, rule


@rule("Relu")
def relu(step: Step) -> list[str | None]:
    """``dX = dY`` where ``Y > 0``; at the kink the slope is 0, as in every framework."""
    writer, (output,) = step.writer, step.node.output
    return [writer.emit("Where", [writer.emit("Greater", [output, writer.scalar(0)]), step.gradient, writer.scalar(0)])]


@rule("Tanh")
def tanh(step: Step) -> list[str | None]:
    """``dX = dY (1 - Y²)``."""
    writer, (output,) = step.writer, step.node.output
    slope = writer.emit("Sub", [writer.scalar(1), writer.emit("Mul", [output, output])])
    return [writer.emit("Mul", [step.gradient, slope])]


@rule("Sigmoid")
def sigmoid(step: Step) -> list[str | None]:
    """``dX = dY Y (1 - Y)``."""
    writer, (output,) = step.writer, step.node.output
    slope = writer.emit("Mul", [output, writer.emit("Sub", [writer.scalar(1), output])])
    return [writer.emit("Mul", [step.gradient, slope])]
