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
from typing import TYPE_CHECKING, Any

from nervure_edge.workloads.contract import Features

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nervure_edge.ring import Ring

MAX_LABELS = 1024


class ExampleStore:
    """The store; empty, it carries no numpy.

    Args:
        max_rows: Bound in rows; 0 keeps none.
        max_bytes: Bound in bytes of features; the stricter of the two holds.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._words: dict[str, int] = {}
        self._ring: Ring | None = None

    def __len__(self) -> int:
        return len(self._ring) if self._ring is not None else 0

    def add(self, row: NDArray[Any], label: str) -> bool:
        """Keep a row of shape (1, F); return False when it does not fit the store."""
        if row.dtype != "float32" or row.ndim != 2 or len(row) != 1:
            return False
        width = row.shape[1]
        bound = min(self._max_rows, self._max_bytes // max(width * 4, 1))
        with self._lock:
            number = self._words.get(label, len(self._words))
            if not bound or number >= MAX_LABELS:
                return False
            self._words[label] = number
            if self._ring is None or self._ring.width != width:
                from nervure_edge.ring import Ring

                # Another feature schema: rows of the old one can't be trained on together with the new ones.
                self._ring = Ring(bound, width)
            self._ring.add(row[0], number)
        return True

    def add_features(self, features: Features, label: str) -> bool:
        """Keep the row of an observation, if it has a single input."""
        return len(features) == 1 and self.add(next(iter(features.values())), label)

    def arrays(self, labels: tuple[str, ...]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return copies of the rows, oldest first, whose label is one of ``labels``.

        Returns:
            x: float32 [n, F].
            y: int64 [n], indices into ``labels``.
        """
        from nervure_edge.ring import Ring

        with self._lock:
            x, words = (self._ring if self._ring is not None else Ring(1, 0)).arrays()
            places = [labels.index(word) if word in labels else -1 for word in self._words]
        return Ring.relabelled(x, words, places)

    def counts(self) -> dict[str, int]:
        """Return how many rows of each label are held."""
        with self._lock:
            held = self._ring.counts(len(self._words)) if self._ring is not None else []
            return {word: held[number] for word, number in self._words.items() if number < len(held) and held[number]}
