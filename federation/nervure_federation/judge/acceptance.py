"""Decides whether a candidate may replace the current model. Pure: two verdicts and a policy in, a decision out.

Order, and each alone is enough to refuse: scores that aren't finite; fewer flows judged than the current model had; F1
below the floor; F1 further below the current model's than is tolerated; the worst site's false positive rate further
above the current model's than is tolerated. The worst site counts, not the mean: a model that is better on the whole and
cries wolf at one site all day is not better for those who sit there.

>>> from nervure_federation.judge.verdict import Counts
>>> good, bad = (Verdict.of({"a": Counts(tp=90, fn=10, tn=100 - fp, fp=fp)}) for fp in (1, 30))
>>> accept(bad, good, Policy()).reason
'F1 0.818 is 0.124 below the current 0.942, more than 0.02'
"""

from __future__ import annotations

from dataclasses import dataclass

from nervure_federation.judge.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Policy:
    """What a candidate must keep to.

    Attributes:
        min_f1: Lowest F1 that is ever accepted.
        max_f1_drop: How much lower than the current model's F1 may be.
        max_worst_site_fpr_increase: How much higher than the current model's the worst site's rate may be.
        tolerated_worst_site_fpr: Up to this rate no increase is held against a candidate. Without it, a model that
            never raises an alarm could never be replaced by one that does.
    """

    min_f1: float = 0.0
    max_f1_drop: float = 0.02
    max_worst_site_fpr_increase: float = 0.05
    tolerated_worst_site_fpr: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a candidate is accepted, and why or why not, in one sentence."""

    accepted: bool
    reason: str


def accept(candidate: Verdict, current: Verdict | None, policy: Policy) -> Decision:
    """Compare a candidate with the model it would replace; without one only the floors hold."""
    refusal = _refusal(candidate, current, policy)
    if refusal:
        return Decision(accepted=False, reason=refusal)
    if current is None:
        return Decision(accepted=True, reason=f"F1 {candidate.f1:.3f}, nothing to compare with")
    return Decision(
        accepted=True,
        reason=(
            f"F1 {current.f1:.3f} to {candidate.f1:.3f}, "
            f"worst site's false positives {current.worst_site_fpr:.3f} to {candidate.worst_site_fpr:.3f}"
        ),
    )


def _refusal(candidate: Verdict, current: Verdict | None, policy: Policy) -> str:
    if not candidate.finite:
        return f"no finite score for {candidate.counts.broken} of {candidate.counts.total} flows"
    if not candidate.counts.total:
        return "there are no held-out flows to judge it on"
    if candidate.f1 < policy.min_f1:
        return f"F1 {candidate.f1:.3f} is below the floor of {policy.min_f1:g}"
    if current is None:
        return ""
    if candidate.counts.total != current.counts.total:
        return f"judged on {candidate.counts.total} flows, the current model on {current.counts.total}"
    drop = current.f1 - candidate.f1
    if drop > policy.max_f1_drop:
        return (
            f"F1 {candidate.f1:.3f} is {drop:.3f} below the current {current.f1:.3f}, more than {policy.max_f1_drop:g}"
        )
    rise = candidate.worst_site_fpr - current.worst_site_fpr
    if rise > policy.max_worst_site_fpr_increase and candidate.worst_site_fpr > policy.tolerated_worst_site_fpr:
        return (
            f"false positives at {candidate.worst_site} {candidate.worst_site_fpr:.3f} are {rise:.3f} above the worst "
            f"site's {current.worst_site_fpr:.3f} so far, more than {policy.max_worst_site_fpr_increase:g}"
        )
    return ""
