"""Normalisation that travels inside the graph, so that every device and every round sees one and the same input.

Story: mean and spread come from the *starting* model's own small public sample and are frozen into ``infer.onnx`` and
``train.onnx``. No site ever computes or reveals statistics of its traffic, and a round can't move them; what a site sees
outside the sample's range is clipped, not trusted.

Steps, all in plain ONNX operators: ``sign(x) log(1 + |x|)`` on heavy-tailed columns (bytes, packets, rates span nine
decades; the sign keeps it safe for any number), then ``(x - mean) / std``, then clip to ±:data:`CLIP`.

>>> fitted = Normalisation.fit(np.array([[0.0, 1.0], [99.0, 0.0]], np.float32), heavy=[True, False])
>>> fitted.apply(np.array([[99.0, 0.0]], np.float32)).round(3).tolist()
[[1.0, -1.0]]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]

CLIP = 8.0
"""Largest normalised value, in standard deviations of the sample."""
NARROW = 0.05
"""Columns whose spread in the sample is below this are taken as constant there: dividing by it would blow up noise."""


def heavy_tailed(columns: Sequence[str]) -> tuple[bool, ...]:
    """Say which columns of a feature vector are heavy-tailed, by the way feature schemas name them.

    Numbers are; columns that stand for one word of a vocabulary (``proto=tcp``) or for a yes (``is_…``) are not.

    >>> heavy_tailed(("sbytes", "is_sm_ips_ports", "proto=tcp"))
    (True, False, False)
    """
    return tuple("=" not in column and not column.startswith("is_") for column in columns)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Frozen constants of the normalisation.

    Attributes:
        heavy: Which columns are taken to the log scale; bool [F].
        mean: Per column after that; float32 [F].
        std: Per column after that, positive; float32 [F].
    """

    heavy: NDArray[np.bool_]
    mean: Floats
    std: Floats

    @classmethod
    def fit(cls, sample: Floats, *, heavy: Sequence[bool]) -> Normalisation:
        """Take mean and spread from a sample, float32 [N, F] with N at least 1."""
        columns = np.asarray(heavy, np.bool_)
        logged = _logged(sample.astype(np.float64), columns)
        spread = logged.std(axis=0)
        return cls(
            heavy=columns,
            mean=logged.mean(axis=0).astype(np.float32),
            std=np.where(spread < NARROW, 1.0, spread).astype(np.float32),
        )

    def apply(self, x: Floats) -> Floats:
        """Do in numpy what the graph does; for tests and for looking at data."""
        scaled = (_logged(x.astype(np.float64), self.heavy) - self.mean) / self.std
        return np.clip(scaled, -CLIP, CLIP).astype(np.float32)

    def nodes(self, source: str, target: str) -> tuple[list[NodeProto], list[TensorProto]]:
        """Write the operators from the value ``source`` to the value ``target``, and their constants."""
        constants = {
            "norm.heavy": self.heavy,
            "norm.one": np.float32(1.0),
            "norm.mean": self.mean,
            "norm.scale": (1.0 / self.std).astype(np.float32),
            "norm.low": np.float32(-CLIP),
            "norm.high": np.float32(CLIP),
        }
        steps = [
            ("Abs", [source], "norm.size"),
            ("Add", ["norm.size", "norm.one"], "norm.shifted"),
            ("Log", ["norm.shifted"], "norm.log"),
            ("Sign", [source], "norm.sign"),
            ("Mul", ["norm.log", "norm.sign"], "norm.logged"),
            ("Where", ["norm.heavy", "norm.logged", source], "norm.tamed"),
            ("Sub", ["norm.tamed", "norm.mean"], "norm.centred"),
            ("Mul", ["norm.centred", "norm.scale"], "norm.scaled"),
            ("Clip", ["norm.scaled", "norm.low", "norm.high"], target),
        ]
        return (
            [helper.make_node(op, inputs, [output], name=output) for op, inputs, output in steps],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        )


def _logged(x: NDArray[np.float64], heavy: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(heavy, np.sign(x) * np.log1p(np.abs(x)), x)
