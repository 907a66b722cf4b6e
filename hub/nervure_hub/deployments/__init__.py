"""Desired state: which release of which model runs where, and the controller that tells the agents.

The controller is not imported here: it builds on the hub's context, which builds on this package.
"""

from nervure_hub.deployments.resolve import SLOT, AgentFacts, Deployment, Selector, resolve, selects
from nervure_hub.deployments.store import DESIRED_PREFIX, Deployments

__all__ = [
    "DESIRED_PREFIX",
    "SLOT",
    "AgentFacts",
    "Deployment",
    "Deployments",
    "Selector",
    "resolve",
    "selects",
]
