"""Tensors by name, and the content of a task: records of tensors, numbers and settings.

A content has the shape of Flower's RecordDict (flwr.proto.recorddict, Flower 1.41) so that a hub hands an agent's reply
to a Flower strategy without converting it. Arrays are C-contiguous numpy arrays of any numeric dtype.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    # 12 MiB that a device without a model need not carry.
    import numpy as np
    from numpy.typing import NDArray

Arrays: TypeAlias = "dict[str, NDArray[np.generic]]"
"""Tensors by name, in the order in which they travel."""

MetricValue = int | float | list[int] | list[float]
ConfigValue = bool | int | float | str | bytes | list[bool] | list[int] | list[float] | list[str] | list[bytes]

MAX_CONTENT_BYTES = 64 * 1024 * 1024
"""Coded bytes of one task's content, either way."""


@dataclass(slots=True)
class TaskContent:
    """What a task or its answer carries."""

    arrays: dict[str, Arrays] = field(default_factory=dict[str, Arrays])
    metrics: dict[str, dict[str, MetricValue]] = field(default_factory=dict[str, dict[str, MetricValue]])
    configs: dict[str, dict[str, ConfigValue]] = field(default_factory=dict[str, dict[str, ConfigValue]])
