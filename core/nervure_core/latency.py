"""Latencies counted in fixed logarithmic buckets, so that thousands of agents' histograms add up exactly.

Buckets: 8 per octave from 1 µs, 26 octaves (up to 67 s), the last one open. A quantile is off by at most one bucket,
that is by 9 %. Same idea as HdrHistogram (G. Tene), with one fixed layout so that no layout travels.

>>> histogram = LatencyHistogram()
>>> for us in (10, 10, 10, 500):
...     histogram.record(us)
>>> histogram.count, round(histogram.quantile_us(0.5)), histogram.quantile_us(1.0) > 450
(4, 10, True)
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_PER_OCTAVE = 8
BUCKETS = 26 * _PER_OCTAVE


class LatencyHistogram:
    """Counts per bucket; recording is one logarithm and one addition."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self.count = 0

    def record(self, us: float) -> None:
        """Count one latency of ``us`` microseconds; below 1 µs counts as 1 µs."""
        index = int(math.log2(us) * _PER_OCTAVE) if us > 1.0 else 0
        self._counts[min(index, BUCKETS - 1)] += 1
        self.count += 1

    def quantile_us(self, q: float) -> float:
        """Return the middle (geometric) of the bucket that holds quantile ``q`` in 0..1, µs; NaN when empty."""
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(q * self.count))
        seen = 0
        for index, number in enumerate(self._counts):
            seen += number
            if seen >= rank:
                return float(2.0 ** ((index + 0.5) / _PER_OCTAVE))
        raise AssertionError("counts and count disagree")

    def merge(self, other: LatencyHistogram) -> None:
        """Add the counts of ``other``."""
        for index, number in enumerate(other._counts):
            self._counts[index] += number
        self.count += other.count

    def to_counts(self) -> list[int]:
        """Return the counts per bucket without the empty tail."""
        end = BUCKETS
        while end and not self._counts[end - 1]:
            end -= 1
        return self._counts[:end]

    @classmethod
    def from_counts(cls, counts: Iterable[int]) -> LatencyHistogram:
        """Return the histogram of ``counts``.

        Raises:
            ValueError: There are more buckets than the layout has, or a negative count.
        """
        values = list(counts)
        if len(values) > BUCKETS or any(value < 0 for value in values):
            raise ValueError(f"not counts of {BUCKETS} buckets")
        histogram = cls()
        histogram._counts[: len(values)] = values
        histogram.count = sum(values)
        return histogram

    @staticmethod
    def bucket_bounds_us() -> list[float]:
        """Return the lower bound of every bucket, µs."""
        return [float(2.0 ** (index / _PER_OCTAVE)) for index in range(BUCKETS)]
