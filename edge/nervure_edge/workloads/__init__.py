"""What an agent senses: the plug-in contract, and the workload ``table``; ``network`` lives in its own package."""

from nervure_edge.workloads.contract import (
    Features,
    ModelInput,
    Observation,
    Pipeline,
    Workload,
    WorkloadConfig,
    WorkloadFactory,
)
from nervure_edge.workloads.discovery import available_workloads, open_workload

__all__ = [
    "Features",
    "ModelInput",
    "Observation",
    "Pipeline",
    "Workload",
    "WorkloadConfig",
    "WorkloadFactory",
    "available_workloads",
    "open_workload",
]
