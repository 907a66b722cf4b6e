"""Labelled rows that a device keeps to learn from: a bounded ring, so memory never depends on how long it runs.

Rules: only rows with a true label and a single float32 input count; when the ring is full the oldest row goes; labels
are kept as words and become numbers only when a model's own list of labels is known; words that the model has not are
left out. Written by the engine's thread, read by the trainer's.

>>> store = ExampleStore(max_rows=2, max_bytes=1 << 20)
>>> [store.add(np.full((1, 3), value, np.float32), "benign") for value in (1, 2, 3)]
[True, True, True]
>>> store.arrays(("benign", "attack"))[0][:, 0].tolist()
[2.0, 3.0]
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nervure_edge.workloads.contract import Features

MAX_LABELS = 1024
_FIRST_ROWS = 256


class ExampleStore:
    """The ring.

    Args:
        max_rows: Bound in rows; 0 keeps none.
        max_bytes: Bound in bytes of features; the stricter of the two holds.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._x: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._y: NDArray[np.int32] = np.empty(0, np.int32)
        self._words: dict[str, int] = {}
        self._bound = 0
        self._next = 0
        self._held = 0

    def __len__(self) -> int:
        return self._held

    def add(self, row: NDArray[Any], label: str) -> bool:
        """Keep a row of shape (1, F); return False when it does not fit the store."""
        if self._max_rows == 0 or row.dtype != np.float32 or row.ndim != 2 or len(row) != 1:
            return False
        with self._lock:
            width = row.shape[1]
            if width != self._x.shape[1]:
                self._start(width)
            number = self._words.setdefault(label, len(self._words))
            if number >= MAX_LABELS or not self._bound:
                self._words.pop(label, None)
                return False
            if self._next >= len(self._x) < self._bound:
                self._grow(width)
            self._x[self._next] = row[0]
            self._y[self._next] = number
            self._held = min(self._held + 1, self._bound)
            self._next = (self._next + 1) % self._bound
        return True

    def add_features(self, features: Features, label: str) -> bool:
        """Keep the row of an observation, if it has a single input."""
        return len(features) == 1 and self.add(next(iter(features.values())), label)

    def _start(self, width: int) -> None:
        # Another feature schema: rows of the old one can't be trained on together with the new ones.
        self._bound = min(self._max_rows, self._max_bytes // max(width * 4, 1))
        rows = min(_FIRST_ROWS, self._bound)
        self._x, self._y = np.empty((rows, width), np.float32), np.empty(rows, np.int32)
        self._next = self._held = 0

    def _grow(self, width: int) -> None:
        rows = min(len(self._x) * 2, self._bound)
        x, y = np.empty((rows, width), np.float32), np.empty(rows, np.int32)
        x[: len(self._x)], y[: len(self._y)] = self._x, self._y
        self._x, self._y = x, y

    def arrays(self, labels: tuple[str, ...]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return copies of the rows, oldest first, whose label is one of ``labels``.

        Returns:
            x: float32 [n, F].
            y: int64 [n], indices into ``labels``.
        """
        with self._lock:
            start = self._next if self._held == self._bound else 0
            order = (np.arange(self._held) + start) % max(self._bound, 1)
            x, words = self._x[order], self._y[order]
            numbers = dict(self._words)
        table = np.full(max(len(numbers), 1), -1, np.int64)
        for word, number in numbers.items():
            if word in labels:
                table[number] = labels.index(word)
        y = table[words]
        known = y >= 0
        return (x, y) if known.all() else (x[known], y[known])

    def counts(self) -> dict[str, int]:
        """Return how many rows of each label are held."""
        with self._lock:
            held = np.bincount(self._y[: self._held], minlength=len(self._words))
            return {word: int(held[number]) for word, number in self._words.items() if held[number]}
