"""The fault simulator: the real spool, session, gateway, journal and compaction under a virtual clock, by seed."""

from nervure_simulations.faults.plan import Fault, Plan, draw
from nervure_simulations.faults.world import Outcome, Parts, run_seed

__all__ = ["Fault", "Outcome", "Parts", "Plan", "draw", "run_seed"]
