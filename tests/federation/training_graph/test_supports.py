"""A model that can't be trained is refused, and told everything that stands in the way."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import TensorProto, helper

from nervure_core.errors import InputError
from nervure_federation import training_graph
from nervure_federation.training_graph import UntrainableModelError

W = "float[2, 2] w = {1, 0, 0, 1}"

CASES = {
    "an operator without a rule": (
        f"net (float[N, 2] x) => (float[N, 2] p) <{W}> {{ h = MatMul(x, w) s = Erf(h) p = Softmax(s) }}",
        ("w",),
        "there is no gradient rule for Erf (makes 's')",
    ),
    "another output": (
        f"net (float[N, 2] x) => (float[N, 2] p) <{W}> {{ h = MatMul(x, w) p = Sigmoid(h) }}",
        ("w",),
        "its output is made by Sigmoid, this loss needs Softmax",
    ),
    "classes unknown": (
        f"net (float[N, C] x) => (float[N, C] p) <{W}> {{ h = Mul(x, x) p = Softmax(h) }}",
        ("w",),
        "must be [N, C] with a known number of classes",
    ),
    "softmax over rows": (
        f"net (float[N, 2] x) => (float[N, 2] p) <{W}> {{ h = MatMul(x, w) p = Softmax <axis = 0> (h) }}",
        ("w",),
        "the Softmax at the model's output must run over the last axis",
    ),
    "unknown weight": (
        f"net (float[N, 2] x) => (float[N, 2] p) <{W}> {{ h = MatMul(x, w) p = Softmax(h) }}",
        ("w", "bias"),
        "it has no weight 'bias'",
    ),
    "no weight": (
        "net (float[N, 2] x) => (float[N, 2] p) { p = Softmax(x) }",
        (),
        "there is no weight to train",
    ),
    "a weight twice": (
        f"net (float[N, 2] x) => (float[N, 2] p) <{W}> {{ h = MatMul(x, w) p = Softmax(h) }}",
        ("w", "w"),
        "a weight is listed twice",
    ),
    "an integer weight": (
        f"net (float[N, 2] x) => (float[N, 2] p) <{W}, int64[1] k = {{1}}> {{ h = MatMul(x, w) p = Softmax(h) }}",
        ("w", "k"),
        "weight 'k' is INT64, not float32 or float64",
    ),
    "a weight that leads nowhere": (
        f"net (float[N, 2] x) => (float[N, 2] p, float[N, 2] q) <{W}> {{ q = MatMul(x, w) s = Relu(x) p = Softmax(s) }}",
        ("w",),
        "weight 'w' doesn't lead to the output",
    ),
    "an input named as one of ours": (
        f"net (float[N, 2] lr) => (float[N, 2] p) <{W}> {{ h = MatMul(lr, w) p = Softmax(h) }}",
        ("w",),
        "its input 'lr' has a name that training graphs need for themselves",
    ),
    "a vector product": (
        "net (float[N, 2] x) => (float[N, 2] p) <float[2] w = {1, 0}> { h = MatMul(x, w) p = Softmax(h) }",
        ("w",),
        "MatMul (makes 'h'): an operand is a vector",
    ),
    "a broadcast nobody can tell": (
        f"net (float[N, 2] x, float[M, 2] z) => (float[N, 2] p) <{W}> {{ h = MatMul(x, w) s = Add(h, z) p = Softmax(s) }}",
        ("w",),
        "Add (makes 's'): it can't be told from static shapes how the operands are broadcast",
    ),
    "no operator at the output": (
        f"net (float[N, 2] x) => (float[N, 2] x) <{W}> {{ h = MatMul(x, w) }}",
        ("w",),
        "no operator makes the output that is to be trained",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_reason_is_named(parse: Any, name: str) -> None:
    text, trainable, reason = CASES[name]
    reasons = training_graph.supports(parse(text), trainable=trainable)
    assert any(reason in said for said in reasons), reasons
    with pytest.raises(UntrainableModelError) as caught:
        training_graph.build(parse(text), trainable=trainable)
    assert caught.value.reasons == tuple(reasons)


def test_an_old_opset_is_refused(parse: Any) -> None:
    text = f"net (float[N, 2] x) => (float[N, 2] p) <{W}> {{ h = MatMul(x, w) p = Softmax <axis = 1> (h) }}"
    assert training_graph.supports(parse(text, opset=11)) == ["it is written in opset 11, training needs 15 or newer"]


def test_branches_are_refused(parse: Any) -> None:
    text = f"""net (float[N, 2] x, bool c) => (float[N, 2] p) <{W}>
    {{ g = If (c) <then_branch = yes () => (float[N, 2] a) {{ a = Relu(x) }},
                   else_branch = no () => (float[N, 2] b) {{ b = Neg(x) }}>
       h = MatMul(g, w) p = Softmax(h) }}"""
    assert "it branches or loops (If)" in training_graph.supports(parse(text))


def test_an_operator_of_another_domain_has_no_rule(parse: Any) -> None:
    model = parse(f"net (float[N, 2] x) => (float[N, 2] p) <{W}> {{ h = MatMul(x, w) s = Relu(h) p = Softmax(s) }}")
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    assert any("no gradient rule for Relu" in said for said in training_graph.supports(model, trainable=("w",)))


def test_a_broken_model_is_an_input_error(parse: Any) -> None:
    model = parse(f"net (float[N, 2] x) => (float[N, 2] p) <{W}> {{ h = MatMul(x, w) p = Softmax(h) }}")
    model.graph.node[1].domain = "com.example"  # no such domain is imported
    with pytest.raises(InputError, match="not a valid ONNX model"):
        training_graph.supports(model, trainable=("w",))


def test_values_in_another_file_are_needed_of_constants_only(parse: Any) -> None:
    model = parse(
        f"net (float[N, 2] x) => (float[N, 2] p) <{W}, float[2] mean = {{1, 2}}>"
        "{ c = Sub(x, mean) h = MatMul(c, w) p = Softmax(h) }"
    )
    for tensor in model.graph.initializer:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
        tensor.ClearField("float_data")
    said = training_graph.supports(model, trainable=("w",))
    assert said == ["the value of 'mean' rests in another file: load external data first"]
    model.graph.initializer[1].CopyFrom(helper.make_tensor("mean", TensorProto.FLOAT, [2], [1, 2]))
    assert training_graph.supports(model, trainable=("w",)) == []
    training_graph.build(model, trainable=("w",))
