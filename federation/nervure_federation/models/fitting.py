"""Runs a training step over rows in this process: what an agent does in a round, for models that are made on a hub.

Used to make the starting model from its public sample, and by benchmarks; agents have a trainer of their own, since a
hub's code never runs on a device. Deterministic for one seed and one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nervure_federation.training_graph import names

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: Passes over the rows.
        learning_rate: Of every step.
        batch_size: Rows a step.
        mu: FedProx's pull towards the weights that training started from.
        seed: Of the order of rows.
    """

    epochs: int = 1
    learning_rate: float = 0.003
    batch_size: int = 32
    mu: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """What training gave: the new weights, the mean loss of the last epoch, and the number of steps."""

    weights: Weights
    loss: float
    steps: int


class Fitter:
    """Holds one onnxruntime session of a training step.

    Args:
        step: A ``train.onnx`` made by ``training_graph.build``, as a path or as bytes.
    """

    def __init__(self, step: Path | bytes) -> None:
        options = onnxruntime.SessionOptions()
        # A small model's step is too short to share: a second thread only adds waiting.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        source = step if isinstance(step, bytes) else str(step)
        self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self._inputs = {value.name: value for value in self._session.get_inputs()}
        self._carried = [
            value.name.removeprefix(names.NEXT)
            for value in self._session.get_outputs()
            if value.name.startswith(names.NEXT)
        ]
        self._fetch = [names.LOSS, *map(names.next_name, self._carried)]

    def fit(
        self, start: Mapping[str, NDArray[np.float32]], x: NDArray[np.float32], y: NDArray[np.int64], plan: Schedule
    ) -> Fit:
        """Train from ``start`` on rows ``x`` [N, F] with labels ``y`` [N]; the optimizer's state starts at zero."""
        fixed: dict[str, Any] = {names.anchor(name): value for name, value in start.items()}
        fixed[names.LEARNING_RATE] = np.array(plan.learning_rate, np.float32)
        fixed[names.PROXIMAL_WEIGHT] = np.array(plan.mu, np.float32)
        held: dict[str, Any] = {name: self._zero(name) for name in self._carried}
        held |= {names.parameter(name): value for name, value in start.items()}
        rng = np.random.default_rng(plan.seed)
        steps, losses = 0, [0.0]
        for _ in range(plan.epochs):
            order = rng.permutation(len(y))
            losses = []
            for begin in range(0, len(y), plan.batch_size):
                rows = order[begin : begin + plan.batch_size]
                loss, *news = self._session.run(self._fetch, {"x": x[rows], names.LABELS: y[rows], **fixed, **held})
                held = dict(zip(self._carried, news, strict=True))
                losses.append(float(np.asarray(loss)))
                steps += 1
        weights = {name: held[names.parameter(name)] for name in start}
        return Fit(weights, float(np.mean(losses)) if losses else 0.0, steps)

    def _zero(self, name: str) -> NDArray[Any]:
        kind = np.int64 if name == names.STEPS else np.float32
        return np.zeros(self._inputs[name].shape, kind)
