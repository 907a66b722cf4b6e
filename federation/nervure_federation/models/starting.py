"""The starting model of a fleet: deliberately modest, from a small sample that may be public.

It must be good enough to be worth running and honest about where it comes from; making it good is the fleet's work. The
same sample and seed give the same bundle, byte for byte, on one kind of CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from nervure_core.bundle import Bundle, Lineage, TrainingSpec
from nervure_federation import training_graph
from nervure_federation.models import mlp
from nervure_federation.models.bundles import Purpose, build_bundle, weights_of
from nervure_federation.models.fitting import Fitter, Schedule
from nervure_federation.models.normalisation import Normalisation

PROBE_ROWS = 16
CLIP_NORM = 5.0
"""Far above an ordinary gradient. One odd batch at one site can't throw the weights so far that the average collapses,
which is what large steps without it came to on the shipped sites."""


def starting_bundle(
    folder: Path,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    purpose: Purpose,
    *,
    heavy: Sequence[bool],
    hidden: Sequence[int] = (32, 16),
    schedule: Schedule = Schedule(epochs=10),  # noqa: B008 - frozen
    training: TrainingSpec | None = None,
    clip_norm: float | None = CLIP_NORM,
    note: str = "",
) -> Bundle:
    """Make the starting model from a sample and write its bundle.

    Args:
        folder: Must not exist yet.
        x: The sample's features, float32 [N, F].
        y: Index of each row's label, int64 [N].
        purpose: What the model is for; its labels say how many classes there are.
        heavy: Which columns are heavy-tailed, F long.
        hidden: Width of each hidden layer.
        schedule: How the model is trained on the sample; 0 epochs leave it random.
        training: Optimizer of ``train.onnx`` and the defaults of a training task.
        clip_norm: Largest L2 norm of a training step's gradient; ``None``: no limit.
        note: Where the sample is from; goes into the bundle's lineage.

    Raises:
        BundleError: The folder exists.
        OSError: The files can't be written; nothing is left behind.
    """
    normalisation = Normalisation.fit(x, heavy=heavy)
    model = mlp.build(normalisation, labels=len(purpose.labels), hidden=hidden, seed=schedule.seed)
    names = mlp.trainable(model)
    step = training_graph.build(model, trainable=names, optimizer="adam")
    start = {name: value.astype(np.float32) for name, value in weights_of(model, names).items()}
    fit = Fitter(step.SerializeToString()).fit(start, x, y, schedule)
    return build_bundle(
        folder,
        with_weights(model, fit.weights),
        purpose,
        probe={mlp.INPUT: x[np.linspace(0, len(x) - 1, PROBE_ROWS).astype(int)]},
        trainable=names,
        training=training,
        clip_norm=clip_norm,
        lineage=Lineage(note=note),
    )


def with_weights(model: ModelProto, weights: dict[str, NDArray[np.float32]]) -> ModelProto:
    """Copy a model with some of its initialisers replaced."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(weights[tensor.name]), tensor.name))
    return copy
