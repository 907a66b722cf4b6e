"""Says what stands in the way of training a model, one sentence each: nothing is guessed or worked around."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from nervure_federation.training_graph import names, rules
from nervure_federation.training_graph.forward import Forward
from nervure_federation.training_graph.losses import Loss
from nervure_federation.training_graph.registry import RULES

assert rules.__all__, "importing the rules fills the table"

OLDEST_OPSET = 15
"""Opset 13 gave Softmax its axis and ReduceSum its axes; CastLike came with 15."""

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


def reasons(model: ModelProto, forward: Forward, loss: Loss, trainable: Sequence[str]) -> list[str]:
    """List why a model can't be trained; empty when it can."""
    found = [
        *_of_model(model),
        *_of_weights(model.graph, trainable),
        *_of_constants(forward),
        *_of_output(forward, loss),
        *_of_nodes(forward),
        *_of_reach(forward),
    ]
    return list(dict.fromkeys(found))


def _of_model(model: ModelProto) -> Iterator[str]:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST_OPSET:
        yield f"it is written in opset {opset}, training needs {OLDEST_OPSET} or newer"
    for node in model.graph.node:
        if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
            yield f"it branches or loops ({node.op_type})"
    taken = names.reserved(())
    for value in model.graph.input:
        if value.name in taken:
            yield f"its input {value.name!r} has a name that training graphs need for themselves"


def _of_weights(graph: GraphProto, trainable: Sequence[str]) -> Iterator[str]:
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    if not trainable:
        yield "there is no weight to train"
    if len(set(trainable)) < len(trainable):
        yield "a weight is listed twice"
    for name in trainable:
        if name not in kinds:
            yield f"it has no weight {name!r}"
        elif kinds[name] not in FLOATS:
            yield f"weight {name!r} is {TensorProto.DataType.Name(kinds[name])}, not float32 or float64"
    if len({kinds[name] for name in trainable if name in kinds}) > 1:
        yield "its weights are of different types"


def _of_constants(forward: Forward) -> Iterator[str]:
    # A trainable weight may rest in another file, since only its shape is needed; a constant's value becomes part of the
    # training graph.
    for tensor in forward.constants:
        if tensor.data_location == TensorProto.EXTERNAL:
            yield f"the value of {tensor.name!r} rests in another file: load external data first"


def _of_output(forward: Forward, loss: Loss) -> Iterator[str]:
    if forward.end is None:
        yield "no operator makes the output that is to be trained"
    elif forward.end.op_type != loss.ends_with or forward.end.domain:
        yield f"its output is made by {forward.end.op_type}, this loss needs {loss.ends_with}"
    elif limit := loss.check(forward.end, forward.shapes.get(forward.scores)):
        yield limit


def _of_nodes(forward: Forward) -> Iterator[str]:
    for node in forward.nodes:
        if not forward.live.intersection(node.input):
            continue
        where = f"{node.op_type} ({_title(node)})"
        rule = None if node.domain else RULES.get(node.op_type)
        if rule is None:
            yield f"there is no gradient rule for {where}"
        elif limit := rule.check(node, [forward.shapes.get(name) for name in node.input]):
            yield f"{where}: {limit}"


def _of_reach(forward: Forward) -> Iterator[str]:
    used = {name for node in forward.nodes for name in node.input} | set(forward.end.input[:1] if forward.end else ())
    for name in forward.weights:
        if names.parameter(name) not in used:
            yield f"weight {name!r} doesn't lead to the output"


def _title(node: NodeProto) -> str:
    return node.name or f"makes {node.output[0]!r}"
