"""Scales from data to pixels, and ticks at round numbers.

>>> scale = linear((0, 10), 40, 240)
>>> scale.at(5), scale.ticks(5)
(140.0, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
>>> logarithmic((1, 1000), 0, 300).ticks(4)
[1.0, 10.0, 100.0, 1000.0]
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps a domain of data onto a range of pixels.

    Args:
        low: Smallest value.
        high: Largest value, above ``low``.
        start: Pixel of ``low``.
        end: Pixel of ``high``; may lie before ``start`` (y grows downwards on a screen).
        log: Whether equal ratios, not equal differences, take equal room.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a value; values outside the domain are moved to its edge."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """Return round values inside the domain, about as many as asked for."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, math.ceil((last - first + 1) / max(about, 1)))
            decades = [10.0**power for power in range(first, last + 1, every)]
            if len(decades) >= min(about, 3):
                return decades
            finer = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1.0, 2.0, 5.0)]
            return [value for value in finer if self.low <= value <= self.high]
        step = nice_step((self.high - self.low) / max(about, 1))
        first_tick = math.ceil(self.low / step - 1e-9)
        last_tick = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first_tick, last_tick + 1)]


def nice_step(rough: float) -> float:
    """Return the round step (1, 2, 2.5 or 5 times a power of ten) that is not below ``rough``."""
    if rough <= 0 or not math.isfinite(rough):
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 2.5, 5.0, 10.0):
        if factor * power >= rough * (1 - 1e-9):
            return factor * power
    return 10.0 * power


def linear(domain: tuple[float, float], start: float, end: float) -> Scale:
    """Return a linear scale; an empty domain gets room, so that it can be drawn."""
    low, high = domain
    return Scale(low, high if high > low else low + 1.0, start, end)


def logarithmic(domain: tuple[float, float], start: float, end: float) -> Scale:
    """Return a logarithmic scale; the domain is moved above zero."""
    low = max(domain[0], 1e-9)
    return Scale(low, domain[1] if domain[1] > low else low * 10.0, start, end, log=True)
