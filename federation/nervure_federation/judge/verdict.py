"""What a judge found: counts, and the rates that follow from them.

Rules: everything is counted over held-out flows that no agent trained on; a rate without cases is the harmless one
(nothing was there to be got wrong); a site with fewer than ``least_benign`` benign flows can't be the worst one, since a
single flow would decide over it.

>>> Counts(tp=8, fp=1, tn=9, fn=2).recall
0.8
>>> verdict = Verdict.of({"home": Counts(8, 1, 99, 2), "mill": Counts(0, 30, 70, 0)})
>>> verdict.worst_site, verdict.worst_site_fpr
('mill', 0.3)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

LEAST_BENIGN = 10


@dataclass(frozen=True, slots=True)
class Counts:
    """How often a detector was right and wrong.

    Attributes:
        tp: Attacks that were found.
        fp: Benign flows that were called attacks.
        tn: Benign flows that were let be.
        fn: Attacks that were missed.
        broken: Flows among these for which the model gave no finite score; they count as "let be".
    """

    tp: int = 0
    fp: int = 0
    tn: int = 0
    fn: int = 0
    broken: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.tp + other.tp, self.fp + other.fp, self.tn + other.tn, self.fn + other.fn, self.broken + other.broken
        )

    @property
    def total(self) -> int:
        """All flows."""
        return self.tp + self.fp + self.tn + self.fn

    @property
    def benign(self) -> int:
        """Flows that are benign in truth."""
        return self.fp + self.tn

    @property
    def accuracy(self) -> float:
        """Share of flows that were judged rightly."""
        return _ratio(self.tp + self.tn, self.total, 1.0)

    @property
    def precision(self) -> float:
        """Share of findings that are attacks."""
        return _ratio(self.tp, self.tp + self.fp, 1.0)

    @property
    def recall(self) -> float:
        """Share of attacks that were found."""
        return _ratio(self.tp, self.tp + self.fn, 1.0)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn, 1.0)

    @property
    def fpr(self) -> float:
        """Share of benign flows that were called attacks."""
        return _ratio(self.fp, self.benign, 0.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One model on all held-out sets.

    Attributes:
        counts: Over all sites together; ``accuracy``, ``f1`` and so on are taken from it.
        sites: Per site.
        worst_site: The site with the highest false positive rate; empty where none has benign flows enough.
        worst_site_fpr: That rate.
    """

    counts: Counts
    sites: dict[str, Counts]
    worst_site: str
    worst_site_fpr: float

    @classmethod
    def of(cls, sites: Mapping[str, Counts], *, least_benign: int = LEAST_BENIGN) -> Verdict:
        """Sum up what was counted per site."""
        eligible = [name for name in sorted(sites) if sites[name].benign >= least_benign]
        worst = max(eligible, key=lambda name: sites[name].fpr, default="")
        return cls(sum(sites.values(), Counts()), dict(sites), worst, sites[worst].fpr if worst else 0.0)

    @property
    def accuracy(self) -> float:
        """Share of all flows that were judged rightly."""
        return self.counts.accuracy

    @property
    def precision(self) -> float:
        """Share of all findings that are attacks."""
        return self.counts.precision

    @property
    def recall(self) -> float:
        """Share of all attacks that were found."""
        return self.counts.recall

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall over all flows."""
        return self.counts.f1

    @property
    def fpr(self) -> float:
        """Share of all benign flows that were called attacks."""
        return self.counts.fpr

    @property
    def finite(self) -> bool:
        """Whether the model gave a finite score for every flow."""
        return self.counts.broken == 0

    def to_json(self) -> dict[str, Any]:
        """Give everything as plain values, for records and reports."""
        rates = {name: getattr(self, name) for name in ("accuracy", "precision", "recall", "f1", "fpr")}
        worst = {"worst_site": self.worst_site, "worst_site_fpr": self.worst_site_fpr}
        sites = {name: {**asdict(counts), "f1": counts.f1, "fpr": counts.fpr} for name, counts in self.sites.items()}
        return {**rates, **worst, "flows": self.counts.total, "finite": self.finite, "sites": sites}


def _ratio(part: int, whole: int, without: float) -> float:
    return part / whole if whole else without
