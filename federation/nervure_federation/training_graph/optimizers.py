"""What happens to a gradient after it is known: proximal term, norm, clipping, and the step itself.

Order, the same in every graph: task gradient, plus FedProx's ``mu (p - g)``, then ``grad_norm`` is taken, then the
gradient is scaled down to the clipping norm if the graph was built with one, then the optimizer steps.

- FedProx: Li et al. 2020, "Federated Optimization in Heterogeneous Networks", arXiv:1812.06127.
- Adam: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1, with ``epsilon`` outside the square root. The bias corrections
  are computed in float64: ``1 - 0.999 ** t`` loses five digits in float32 at the first steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from nervure_federation.training_graph import names
from nervure_federation.training_graph.writer import GraphWriter

ADAM_BETA_1 = 0.9
ADAM_BETA_2 = 0.999
ADAM_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Pull:
    """FedProx's part of the objective: its value and its gradient by each weight."""

    value: str
    gradients: Mapping[str, str]


def proximal(writer: GraphWriter, trainable: Sequence[str]) -> Pull:
    """Write ``mu/2 Σ (p - g)²`` and its gradient ``mu (p - g)``."""
    gradients: dict[str, str] = {}
    squares: list[str] = []
    for weight in trainable:
        drift = writer.emit("Sub", [names.parameter(weight), names.anchor(weight)])
        squares.append(writer.emit("ReduceSumSquare", [drift], keepdims=0))
        gradients[weight] = writer.emit("Mul", [drift, names.PROXIMAL_WEIGHT])
    half = writer.emit("Mul", [names.PROXIMAL_WEIGHT, writer.scalar(0.5)])
    return Pull(writer.emit("Mul", [half, writer.total(squares)]), gradients)


def norm(writer: GraphWriter, gradients: Mapping[str, str]) -> str:
    """Write the L2 norm of all gradients together as the output ``grad_norm``."""
    squares = [writer.emit("ReduceSumSquare", [gradient], keepdims=0) for gradient in gradients.values()]
    return writer.emit("Sqrt", [writer.total(squares)], output=names.GRADIENT_NORM)


def clip(writer: GraphWriter, gradients: Mapping[str, str], length: str, limit: float) -> dict[str, str]:
    """Scale all gradients by one factor so that their common norm is at most ``limit``."""
    # Dividing by the larger of the two needs no epsilon: it is 1 below the limit, and never divides by zero.
    factor = writer.emit("Div", [writer.scalar(limit), writer.emit("Max", [length, writer.scalar(limit)])])
    return {weight: writer.emit("Mul", [gradient, factor]) for weight, gradient in gradients.items()}


def sgd(writer: GraphWriter, gradients: Mapping[str, str]) -> None:
    """Write ``p - lr d`` for every weight."""
    for weight, gradient in gradients.items():
        _descend(writer, weight, writer.emit("Mul", [names.LEARNING_RATE, gradient]))


def adam(writer: GraphWriter, gradients: Mapping[str, str]) -> None:
    """Write Adam's step for every weight, its two moments, and the step count."""
    steps = writer.emit("Add", [names.STEPS, writer.constant(1, np.int64)], output=names.next_name(names.STEPS))
    first_bias, second_bias = (_bias(writer, steps, beta) for beta in (ADAM_BETA_1, ADAM_BETA_2))
    rate = writer.emit("Div", [names.LEARNING_RATE, first_bias])
    root = writer.emit("Sqrt", [second_bias])
    for weight, gradient in gradients.items():
        mean = _blend(writer, names.first_moment(weight), gradient, ADAM_BETA_1)
        square = writer.emit("Mul", [gradient, gradient])
        spread = _blend(writer, names.second_moment(weight), square, ADAM_BETA_2)
        scale = writer.emit("Div", [writer.emit("Sqrt", [spread]), root])
        scale = writer.emit("Add", [scale, writer.scalar(ADAM_EPSILON)])
        _descend(writer, weight, writer.emit("Mul", [rate, writer.emit("Div", [mean, scale])]))


def _descend(writer: GraphWriter, weight: str, change: str) -> None:
    old = names.parameter(weight)
    writer.emit("Sub", [old, change], output=names.next_name(old))


def _blend(writer: GraphWriter, moment: str, news: str, beta: float) -> str:
    """Write ``beta moment + (1 - beta) news`` as the moment's next value."""
    kept = writer.emit("Mul", [moment, writer.scalar(beta)])
    added = writer.emit("Mul", [news, writer.scalar(1 - beta)])
    return writer.emit("Add", [kept, added], output=names.next_name(moment))


def _bias(writer: GraphWriter, steps: str, beta: float) -> str:
    """Write ``1 - beta ** steps``."""
    count = writer.emit("Cast", [steps], to=TensorProto.DOUBLE)
    power = writer.emit("Pow", [writer.constant(beta, np.float64), count])
    missing = writer.emit("Sub", [writer.constant(1, np.float64), power])
    return writer.emit("CastLike", [missing, names.LEARNING_RATE])


OPTIMIZERS: dict[names.Optimizer, Callable[[GraphWriter, Mapping[str, str]], None]] = {"sgd": sgd, "adam": adam}
"""The optimizers, by the name that manifests and recipes use."""
