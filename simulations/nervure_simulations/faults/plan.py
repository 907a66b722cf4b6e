"""What one seed tries: the fleet's shape, its bounds, and which faults happen how often. Drawn, then fixed.

Rules: every seed leaves some kinds of fault out ("swarm testing", Groce and others 2012): a fault that always happens
hides what only shows without it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What may go wrong."""

    CUT = "cut a connection"
    PARTITION = "partition"
    AGENT_CRASH = "agent crash"
    AGENT_CRASH_IN_STEP = "agent crash in an operation"
    AGENT_STOP = "agent stop"
    GATEWAY_CRASH = "gateway crash"
    GATEWAY_CRASH_IN_STEP = "gateway crash in an operation"
    GATEWAY_STOP = "gateway stop"
    HUB_CRASH = "hub crash"
    LAKE_CRASH = "lake crash"
    FAILED_COMMITS = "failed commits"
    FULL_DISK = "full disk"
    FAILED_SYNC = "failed sync"
    WRONG_CLOCK = "wrong clock"
    REPEATS = "repeated frames"


@dataclass(frozen=True, slots=True)
class Plan:
    """One seed's plan."""

    agents: int
    gateways: tuple[int, ...]
    """Of each hub."""
    faults: tuple[Fault, ...]
    faults_per_s: float
    chaos_s: float
    batches_per_s: float
    sync_interval_s: float
    compact_interval_s: float
    slowness_s: float
    """Mean time of a frame on its way."""
    disk_delay_s: float
    """Mean time of what a thread does."""
    half_open_share: float
    spool_quota_bytes: int
    spool_segment_bytes: int
    credit_bytes: int
    journal_segment_bytes: int
    journal_quota_bytes: int
    journal_queue_bytes: int


def draw(seed: int) -> Plan:
    """Return the plan of a seed."""
    rng = random.Random(f"{seed}/plan")
    faults = tuple(fault for fault in Fault if rng.random() < 0.6) or (Fault.CUT,)
    segment = rng.choice((2048, 4096, 8192))
    return Plan(
        agents=rng.randint(1, 3),
        gateways=tuple(rng.randint(1, 2) for _ in range(2)),
        faults=faults,
        faults_per_s=rng.choice((0.5, 1.0, 2.0)),
        chaos_s=rng.uniform(5.0, 12.0),
        batches_per_s=rng.choice((1.0, 3.0, 6.0)),
        sync_interval_s=rng.choice((0.01, 0.05, 0.5)),
        compact_interval_s=rng.choice((0.5, 2.0, 5.0)),
        slowness_s=rng.choice((0.001, 0.01, 0.1)),
        disk_delay_s=rng.choice((0.0005, 0.005, 0.1)),
        half_open_share=rng.choice((0.0, 0.3)),
        spool_quota_bytes=segment * rng.choice((4, 8, 64)),
        spool_segment_bytes=segment,
        credit_bytes=rng.choice((1500, 8_000, 1 << 20)),
        journal_segment_bytes=rng.choice((2048, 16_384)),
        journal_quota_bytes=rng.choice((24_000, 1 << 20)),
        journal_queue_bytes=rng.choice((2_000, 1 << 20)),
    )
