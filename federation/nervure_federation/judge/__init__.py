"""Judges candidates independently of those who trained them: on held-out flows, site by site, worst site first.

>>> verdict = judge(bundle, {"home": (x, y)})  # doctest: +SKIP
>>> accept(verdict, current, Policy(max_f1_drop=0.01)).reason  # doctest: +SKIP
'F1 0.961 to 0.974, worst site\\'s false positives 0.021 to 0.018'
"""

from nervure_federation.judge.acceptance import Decision, Policy, accept
from nervure_federation.judge.scoring import Heldout, judge, judge_weights
from nervure_federation.judge.verdict import Counts, Verdict

__all__ = ["Counts", "Decision", "Heldout", "Policy", "Verdict", "accept", "judge", "judge_weights"]
