"""Which gradient rule stands for which operator.

A rule is two plain functions on one forward node: ``check`` says what about this node isn't covered, ``backward`` writes
the nodes of its vector-Jacobian product. Rules live one family a file under ``rules/`` and enter the table by
:func:`rule`; a new file there needs one line in ``rules/__init__``.

>>> from nervure_federation.training_graph import rules
>>> "Gemm" in RULES, "NonMaxSuppression" in RULES
(True, False)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import NodeProto, helper

from nervure_federation.training_graph.writer import GraphWriter, Shape


def attributes(node: NodeProto) -> dict[str, Any]:
    """Read a node's attributes as plain Python values; what isn't set is absent."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


@dataclass(frozen=True, slots=True)
class Step:
    """One forward node as its rule sees it while the gradient runs backwards through it.

    Attributes:
        node: The forward node, with the names it has in the training graph.
        gradients: For each output the name of its gradient; ``None`` where nothing downstream depends on it.
        needed: For each input whether its gradient is wanted; the others needn't be written.
        writer: Where the nodes go; knows the static shapes of forward values.
    """

    node: NodeProto
    gradients: tuple[str | None, ...]
    needed: tuple[bool, ...]
    writer: GraphWriter

    @property
    def gradient(self) -> str:
        """The gradient of the only output, for operators that have one."""
        (name,) = self.gradients
        assert name is not None, f"{self.node.op_type} was reached without a gradient"
        return name


Backward = Callable[[Step], Sequence[str | None]]
"""Writes the gradient of each input and gives their names in input order, ``None`` where it isn't needed."""

Check = Callable[[NodeProto, Sequence[Shape | None]], str | None]
"""Given a node and the static shapes of its inputs (``None``: unknown rank), says what isn't covered, or ``None``."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How one operator is differentiated.

    Attributes:
        backward: Writes the gradient.
        check: Says what isn't covered.
        weights: Which inputs of the operator are weights by nature; used only to guess a model's trainable tensors.
    """

    backward: Backward
    check: Check
    weights: tuple[int, ...] = ()


RULES: dict[str, Rule] = {}
"""The table, by operator of the default ONNX domain."""


def no_limits(node: NodeProto, shapes: Sequence[Shape | None]) -> str | None:
    """Cover every node of the operator: the ``check`` of rules that need nothing to be known."""
    return None


def rule(*operators: str, check: Check = no_limits, weights: tuple[int, ...] = ()) -> Callable[[Backward], Backward]:
    """Enter the decorated function as the gradient rule of these operators."""

    def enter(backward: Backward) -> Backward:
        for operator in operators:
            assert operator not in RULES, f"two gradient rules for {operator}"
            RULES[operator] = Rule(backward, check, weights)
        return backward

    return enter
