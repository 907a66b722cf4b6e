"""Reverse-mode differentiation over a list of ONNX nodes.

Walks the nodes backwards; at each one that carries gradient its rule writes the gradients of its inputs, and a value
that is used several times gets the sum. Frozen values never ask for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from onnx import NodeProto

from nervure_federation.training_graph.registry import RULES, Step
from nervure_federation.training_graph.writer import GraphWriter


def differentiate(
    writer: GraphWriter, nodes: Sequence[NodeProto], live: Set[str], seeds: Mapping[str, str]
) -> dict[str, str]:
    """Write the gradients of the objective by every live value that nobody computes.

    Args:
        writer: Where the nodes go; knows the static shapes of the forward values.
        nodes: Forward nodes in topological order; those that carry gradient have a rule.
        live: The values that depend on something trainable.
        seeds: For each value the objective depends on directly the name of its gradient.

    Returns:
        The gradients' names by the values' names, for live values that no node makes: the weights.
    """
    parts: dict[str, list[str]] = {value: [gradient] for value, gradient in seeds.items()}
    for node in reversed(nodes):
        arriving = tuple(writer.total(parts.pop(name)) if name in parts else None for name in node.output)
        needed = tuple(name in live for name in node.input)
        if not any(needed) or not any(arriving):
            continue
        leaving = RULES[node.op_type].backward(Step(node, arriving, needed, writer))
        for name, gradient, wanted in zip(node.input, leaving, needed, strict=True):
            if wanted and gradient is not None:
                parts.setdefault(name, []).append(gradient)
    return {value: writer.total(gradients) for value, gradients in parts.items() if value in live}
