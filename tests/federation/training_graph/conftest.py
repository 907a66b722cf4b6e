"""Small forward models in ONNX's text form, and one way to run a training step both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, parser
from onnx.reference import ReferenceEvaluator

Arrays = dict[str, NDArray[Any]]
Run = Callable[[ModelProto, Mapping[str, Any]], Arrays]


def _feeds(model: ModelProto, feeds: Mapping[str, Any]) -> Arrays:
    """Cast to what the graph declares, 0-d included; what isn't given starts at zero (mu, moments, t)."""
    given: Arrays = {}
    for value in model.graph.input:
        kind = {1: np.float32, 7: np.int64, 11: np.float64}[value.type.tensor_type.elem_type]
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        given[value.name] = np.array(feeds.get(value.name, np.zeros(shape)), dtype=kind)
    return given


def _run_reference(model: ModelProto, feeds: Mapping[str, Any]) -> Arrays:
    values = ReferenceEvaluator(model).run(None, _feeds(model, feeds))
    return dict(zip([value.name for value in model.graph.output], map(np.asarray, values), strict=True))


def _run_onnxruntime(model: ModelProto, feeds: Mapping[str, Any]) -> Arrays:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, _feeds(model, feeds))), strict=True))


@pytest.fixture
def onnxruntime_run() -> Run:
    """Run a step by what agents have."""
    return _run_onnxruntime


@pytest.fixture(params=["reference", "onnxruntime"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a step by the reference implementation and by what agents have."""
    return _run_reference if request.param == "reference" else _run_onnxruntime


@pytest.fixture
def parse() -> Callable[..., ModelProto]:
    """Read ``net (inputs) => (outputs) <initialisers> { body }``."""

    def read(text: str, *, opset: int = 17) -> ModelProto:
        return parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')

    return read
