"""Reads a forward model as what training needs of it: the nodes that lead to the loss, and which of them carry gradient.

Rules:

- A weight is *trainable* when its name is in the given list; every other initialiser is a constant of the result, and
  what depends on constants and data only ("frozen") needs no gradient rule, whatever operators it is made of.
- Values keep the names they have in the model, except the trainable weights (``p.<w>``) and values whose names a
  training graph needs for itself (they get ``_`` in front).
- Reading never fails on a model that can't be trained: :mod:`.limits` says what stands in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, inliner, shape_inference

from nervure_core.errors import InputError
from nervure_federation.training_graph import names
from nervure_federation.training_graph.registry import RULES
from nervure_federation.training_graph.writer import Dim, Shape

Rename = Callable[[str], str]
Named = TypeVar("Named", TensorProto, ValueInfoProto)


@dataclass(frozen=True, slots=True)
class Forward:
    """The part of a model that training runs, with the names it has in the training graph.

    Attributes:
        nodes: From the data to the scores, in topological order.
        end: The node that makes the model's output from the scores; ``None`` where an input or weight is the output.
        inputs: The model's own inputs that these nodes read.
        constants: Frozen initialisers that these nodes read.
        weights: The trainable initialisers by their names in the model, in the order they were asked for.
        shapes: Static shapes of values; symbols stand for free dimensions.
        live: Values that depend on a trainable weight.
    """

    nodes: tuple[NodeProto, ...]
    end: NodeProto | None
    inputs: tuple[ValueInfoProto, ...]
    constants: tuple[TensorProto, ...]
    weights: dict[str, TensorProto]
    shapes: dict[str, Shape]
    live: frozenset[str]

    @property
    def scores(self) -> str:
        """The value the loss starts from: what the last operator of the model turns into its output."""
        assert self.end is not None, "checked before"
        return self.end.input[0]


def read(model: ModelProto, trainable: Sequence[str], output: str | None) -> Forward:
    """Prepare a forward model for training; ``output`` is the output to train, by default the first.

    Raises:
        InputError: The model isn't valid ONNX.
    """
    try:
        model = inliner.inline_local_functions(model) if model.functions else model
        graph = shape_inference.infer_shapes(_with_symbols(model), data_prop=True).graph
    except (checker.ValidationError, shape_inference.InferenceError, RuntimeError) as error:
        # onnx's C++ side raises a bare RuntimeError for what its Python side has no name for.
        raise InputError(f"not a valid ONNX model: {str(error).strip()}") from error
    rename = _renames(trainable)
    nodes = [_renamed(node, rename) for node in graph.node]

    wanted = rename(graph.output[0].name if output is None else output)
    end = next((node for node in nodes if wanted in node.output), None)
    nodes = _leading_to(nodes, set(end.input[:1]) if end is not None else set())
    used = {name for node in nodes for name in node.input} | set(end.input if end is not None else ())

    initializers = {tensor.name: tensor for tensor in graph.initializer}
    frozen = [tensor for name, tensor in initializers.items() if name not in trainable and rename(name) in used]
    return Forward(
        nodes=tuple(nodes),
        end=end,
        inputs=tuple(_named(value, rename) for value in _data_inputs(graph) if rename(value.name) in used),
        constants=tuple(_named(tensor, rename) for tensor in frozen),
        weights={name: initializers[name] for name in trainable if name in initializers},
        shapes={rename(name): shape for name, shape in _shapes(graph).items()},
        live=_live(nodes, {names.parameter(name) for name in trainable}),
    )


def weights(model: ModelProto) -> tuple[str, ...]:
    """Guess which initialisers are a model's weights: those that operators with weights take, and biases added to them.

    >>> from onnx import parser
    >>> weights(parser.parse_model('''<ir_version: 9, opset_import: ["" : 17]>
    ... net (float[N, 2] x) => (float[N, 2] p) <float[2] mean = {0, 0}, float[2, 2] w = {1, 0, 0, 1}, float[2] b = {0, 0}>
    ... { c = Sub(x, mean)  h = MatMul(c, w)  s = Add(h, b)  p = Softmax(s) }'''))
    ('w', 'b')
    """
    floats = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.dims and tensor.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE)
    }
    found: dict[str, None] = {}
    live: set[str] = set()
    for node in model.graph.node:
        rule = RULES.get(node.op_type)
        own = {node.input[slot] for slot in (rule.weights if rule else ()) if slot < len(node.input)}
        if node.op_type == "Add" and live.intersection(node.input):
            own |= set(node.input)
        found |= dict.fromkeys(name for name in node.input if name in own & floats)
        if live.union(found).intersection(node.input):
            live |= set(node.output)
    return tuple(found)


def _data_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    # Models of IR 3 and older list their initialisers among the inputs too.
    initializers = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initializers]


def _with_symbols(model: ModelProto) -> ModelProto:
    """Give every nameless free dimension of an input a name, so that equal ones can be told from different ones."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") and not dim.dim_param:
                dim.dim_param = f"{value.name}.{axis}"
    return copy


def _shapes(graph: GraphProto) -> dict[str, Shape]:
    found: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            found.setdefault(value.name, tuple(map(_dim, value.type.tensor_type.shape.dim)))
    return found


def _dim(dim: object) -> Dim:
    # Typed as object: onnx's stubs hide the nested class TensorShapeProto.Dimension from strict checkers.
    number: int = getattr(dim, "dim_value", 0)
    symbol: str = getattr(dim, "dim_param", "")
    return number or symbol or None


def _renames(trainable: Sequence[str]) -> Rename:
    chosen = frozenset(trainable)
    taken = names.reserved(trainable)

    def rename(name: str) -> str:
        if name in chosen:
            return names.parameter(name)
        while name in taken:
            name = f"_{name}"
        return name

    return rename


def _renamed(node: NodeProto, rename: Rename) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [rename(name) if name else "" for name in node.input]
    copy.output[:] = [rename(name) if name else "" for name in node.output]
    return copy


def _named(value: Named, rename: Rename) -> Named:
    copy = type(value)()
    copy.CopyFrom(value)
    copy.name = rename(value.name)
    return copy


def _leading_to(nodes: Sequence[NodeProto], wanted: set[str]) -> list[NodeProto]:
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= set(node.input) - {""}
    return kept[::-1]


def _live(nodes: Iterable[NodeProto], start: set[str]) -> frozenset[str]:
    live = set(start)
    for node in nodes:
        if live.intersection(node.input):
            live |= set(node.output) - {""}
    return frozenset(live)
