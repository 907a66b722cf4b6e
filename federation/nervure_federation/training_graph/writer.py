"""A growing list of ONNX nodes, with fresh names: what gradient rules, losses and optimizers write into.

Rules: every value gets its own name; names of the forward graph are never reused; constants are initialisers of the
result and equal ones are kept once; all arithmetic is in one float type, that of the trainable weights.

>>> writer = GraphWriter(np.dtype("float32"), taken={"x"})
>>> writer.emit("Relu", ["x"])
'Relu.0'
>>> [node.op_type for node in writer.nodes]
['Relu']
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Dim = int | str | None
"""One dimension: known, symbolic (two equal names are equal sizes), or unknown."""
Shape = tuple[Dim, ...]


class GraphWriter:
    """Collects nodes and constants for a graph that is being written.

    Args:
        dtype: The float type of all constants made by :meth:`scalar`.
        taken: Names that must not be given to new values.
        shapes: Static shapes of values that are already there; values without an entry have an unknown rank.
    """

    def __init__(
        self, dtype: np.dtype[Any], *, taken: Iterable[str] = (), shapes: Mapping[str, Shape] | None = None
    ) -> None:
        self.dtype = dtype
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._taken = set(taken)
        self._shapes = dict(shapes or {})
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._counts: dict[str, int] = {}

    def name(self, stem: str) -> str:
        """Make a name nobody has yet."""
        while True:
            count = self._counts.get(stem, 0)
            self._counts[stem] = count + 1
            name = f"{stem}.{count}"
            if name not in self._taken:
                self._taken.add(name)
                return name

    def emit(self, op: str, inputs: Sequence[str], *, output: str | None = None, **attributes: Any) -> str:
        """Append one node with one output and give the output's name."""
        name = output if output is not None else self.name(op)
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, value: ArrayLike, dtype: DTypeLike) -> str:
        """Give the name of a constant with this value, made at the first use."""
        array: NDArray[Any] = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.name("const")
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def scalar(self, value: float) -> str:
        """Give the name of a 0-d constant of the graph's float type."""
        return self.constant(value, self.dtype)

    def axes(self, axes: Sequence[int]) -> str:
        """Give the name of an int64 list, as ``ReduceSum`` and friends want their axes."""
        return self.constant(list(axes), np.int64)

    def shape(self, name: str) -> Shape:
        """Give the static shape of a value.

        Raises:
            KeyError: The rank of the value isn't known.
        """
        return self._shapes[name]

    def total(self, terms: Sequence[str], *, output: str | None = None) -> str:
        """Add up values of one shape; a single one is passed through unless an output name is asked for."""
        if len(terms) == 1 and output is None:
            return terms[0]
        return self.emit("Sum", terms, output=output)
