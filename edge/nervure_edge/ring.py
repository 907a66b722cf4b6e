"""A ring of labelled rows in two arrays that grow up to a bound.

>>> ring = Ring(2, 1)
>>> for value in (1, 2, 3):
...     ring.add(np.array([value], np.float32), 0)
>>> ring.arrays()[0].tolist()
[[2.0], [3.0]]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST_ROWS = 256


class Ring:
    """Rows of one width; not locked.

    Args:
        bound: Rows kept, from 1.
        width: Values of a row.
    """

    def __init__(self, bound: int, width: int) -> None:
        self.width = width
        self._bound = bound
        rows = min(_FIRST_ROWS, bound)
        self._x = np.empty((rows, width), np.float32)
        self._y = np.empty(rows, np.int32)
        self._next = self._held = 0

    def __len__(self) -> int:
        return self._held

    def add(self, row: NDArray[Any], label: int) -> None:
        """Put a row in, over the oldest one when the ring is full."""
        if self._next >= len(self._x):
            self._grow()
        self._x[self._next] = row
        self._y[self._next] = label
        self._held = min(self._held + 1, self._bound)
        self._next = (self._next + 1) % self._bound

    def _grow(self) -> None:
        rows = min(len(self._x) * 2, self._bound)
        x, y = np.empty((rows, self.width), np.float32), np.empty(rows, np.int32)
        x[: len(self._x)], y[: len(self._y)] = self._x, self._y
        self._x, self._y = x, y

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Return copies of the rows [n, width] and labels [n], oldest first."""
        start = self._next if self._held == self._bound else 0
        order = (np.arange(self._held) + start) % self._bound
        return self._x[order], self._y[order]

    def counts(self, labels: int) -> list[int]:
        """Return how many rows each of the labels 0 .. ``labels`` - 1 has."""
        return [int(count) for count in np.bincount(self._y[: self._held], minlength=labels)]

    @staticmethod
    def relabelled(
        x: NDArray[np.float32], labels: NDArray[np.int32], places: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the rows whose label has a place, with that place as label; places below 0 are none."""
        y = np.array(places or [-1], np.int64)[labels]
        known = y >= 0
        return (x, y) if known.all() else (x[known], y[known])
