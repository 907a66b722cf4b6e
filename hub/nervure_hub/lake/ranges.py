"""Which sequences of a stream are here: sets of half-open ranges.

Rules: ranges are kept sorted, apart and merged; ``add`` returns what was new, so that a repeat costs nothing but the
look-up; nothing is ever removed. A stream that arrives in order is one range however long it is.

>>> seen = SeqRanges()
>>> seen.add(0, 10), seen.add(5, 12), seen.add(20, 30), seen.add(0, 30)
([(0, 10)], [(10, 12)], [(20, 30)], [(12, 20)])
>>> seen
<SeqRanges [0, 30)>
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class SeqRanges:
    """A set of sequences."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __repr__(self) -> str:
        shown = ", ".join(f"[{start}, {end})" for start, end in self.ranges()[:8])
        return f"<SeqRanges {shown or 'empty'}>"

    def __len__(self) -> int:
        return sum(self._ends) - sum(self._starts)

    def __contains__(self, seq: int) -> bool:
        index = bisect_right(self._starts, seq) - 1
        return index >= 0 and seq < self._ends[index]

    def ranges(self) -> list[tuple[int, int]]:
        """Return the ranges, in order."""
        return list(zip(self._starts, self._ends, strict=True))

    def add(self, start: int, end: int) -> list[tuple[int, int]]:
        """Add ``[start, end)`` and return the parts of it that were not here before.

        Raises:
            ValueError: The range is empty.
        """
        if start >= end:
            raise ValueError(f"[{start}, {end}) is empty")
        # Every range that overlaps the new one or touches it lies in [first, last).
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        new: list[tuple[int, int]] = []
        at = start
        for index in range(first, last):
            if at < self._starts[index]:
                new.append((at, min(end, self._starts[index])))
            at = max(at, self._ends[index])
        if at < end:
            new.append((at, end))
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        return new
