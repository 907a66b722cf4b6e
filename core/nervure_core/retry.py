"""Waiting between tries: exponential growth, a cap, and full jitter.

Full jitter (a uniform draw between nothing and the bound) spreads a herd best: see M. Brooker, "Exponential Backoff
And Jitter", AWS Architecture Blog, 2015.

>>> backoff = Backoff(base_s=1.0, cap_s=8.0, rng=random.Random(1))
>>> [backoff.next_delay_s() <= bound for bound in (1, 2, 4, 8, 8)]
[True, True, True, True, True]
"""

from __future__ import annotations

import random


class Backoff:
    """The delays of one series of tries.

    Args:
        base_s: Bound of the first delay, seconds; positive.
        cap_s: Bound of every delay, seconds; at least ``base_s``.
        rng: Source of jitter; give a seeded one to replay a run.
    """

    __slots__ = ("_base_s", "_cap_s", "_rng", "_tries")

    def __init__(self, base_s: float = 0.5, cap_s: float = 30.0, rng: random.Random | None = None) -> None:
        if not 0.0 < base_s <= cap_s:
            raise ValueError(f"need 0 < base_s <= cap_s, got {base_s} and {cap_s}")
        self._base_s = base_s
        self._cap_s = cap_s
        self._rng = rng if rng is not None else random.Random()
        self._tries = 0

    @property
    def tries(self) -> int:
        """Delays handed out since the last reset."""
        return self._tries

    def next_delay_s(self) -> float:
        """Return how long to wait before the next try, in seconds."""
        # The exponent is bounded: 2.0**2000 overflows after a few days offline.
        bound = min(self._cap_s, self._base_s * 2.0 ** min(self._tries, 60))
        self._tries += 1
        return self._rng.uniform(0.0, bound)

    def reset(self) -> None:
        """Begin a new series after a success."""
        self._tries = 0
