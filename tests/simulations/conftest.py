"""Fixtures for the fleet's tests."""

import math
import random

import pytest

from nervure_simulations.report.model import (
    AgentHistory,
    Bar,
    DetectionPart,
    Environment,
    EventTotals,
    FaultPart,
    InferencePart,
    Mark,
    ModelsPart,
    RegionPart,
    Report,
    ResourcesPart,
    RoundPart,
    Sample,
    Score,
    SiteScore,
)

REGIONS = ("americas", "europe", "asia")
KILL_S, END_S = 118.4, 231.7


@pytest.fixture
def sample_report() -> Report:
    """A made-up report that fills every chart: thirty agents, ten rounds, one killed hub."""
    rng = random.Random(7)
    rounds = tuple(_round(number, rng) for number in range(1, 11))
    agents = tuple(_agent(region, index, rng) for region in REGIONS for index in range(10))
    back = max(since for agent in agents for since, region in agent.sessions if since > KILL_S and region)
    produced = 41_873
    return Report(
        scenario="three-regions",
        title="Three regions learn one intrusion detector, and one hub dies half way",
        duration_s=END_S,
        regions={
            name: RegionPart(agents=10, gateways=2, hub_id=f"hub-{name}", sites=(f"{name}-office", f"{name}-lab"))
            for name in REGIONS
        },
        events=EventTotals(
            produced=produced,
            acknowledged=produced,
            stored_unique=produced,
            stored_rows=produced,
            duplicates_dropped=312,
            lost=0,
        ),
        inference=InferencePart(count=39_204, p50_us=14.2, p99_us=71.0, during_outage=861, histogram=_histogram()),
        rounds=rounds,
        detection=DetectionPart(
            initial=Score(accuracy=0.62, f1=0.55, fpr=0.31),
            final=rounds[-1].regions["asia"],
            local_only=Score(accuracy=0.81, f1=0.74, fpr=0.12),
        ),
        models=ModelsPart(name="flow-guard", latest=10, agents_on_latest=30, agents=30),
        faults=(
            FaultPart(
                kind="kill-hub",
                region="europe",
                at_s=KILL_S,
                agents=10,
                rehomed=10,
                rehome_p50_s=1.6,
                rehome_p95_s=back - KILL_S,
                killed_processes=7,
                last_rehomed_at_s=back,
            ),
        ),
        resources=ResourcesPart(
            agent_rss_mib=97.4, hub_rss_mib=812.0, hubs_rss_mib=dict.fromkeys(REGIONS, 812.0), runner_rss_mib=402.0
        ),
        bars=(
            Bar(id="f1", text="Final F1 on held-out flows", value=0.9731, bar="≥ 0.95", met=True),
            Bar(id="lost", text="Events lost, with the hub killed", value=0, bar="0", met=True),
            Bar(id="time", text="Whole run on 2 cores", value=231.7, bar="< 300 s", met=True),
            Bar(id="latest", text="Agents on the latest model", value="29 of 30", bar="all", met=False),
        ),
        environment=Environment(
            command="nervure simulate three-regions --out out/demo",
            started_at="2026-11-21T11:02:03Z",
            seed=7,
            machine="Linux 6.1 x86_64",
            cpus=2,
            memory_mib=24_010,
            python="3.11.2",
            versions={"nervure": "0.1.0", "onnxruntime": "1.31.0", "ray": "2.60.0", "flwr": "1.41.0"},
            coordination="etcd 3.5.1",
            replay_pace="every site's live traffic over 150 s",
        ),
        learning={"strategy": "fedavg", "rounds": 10, "epochs": 2, "batch_size": 64, "learning_rate": 0.005},
        timeline=_timeline(agents, produced),
        agents=agents,
        marks=(
            Mark(at_s=9.1, kind="phase", text="three hubs are ready"),
            Mark(at_s=31.0, kind="phase", text="30 agents are connected and run release 0"),
            Mark(at_s=KILL_S, kind="fault", text="the hub of europe was killed: 7 processes"),
            Mark(at_s=back, kind="recovery", text="all 10 agents of europe have a session elsewhere"),
            Mark(at_s=218.0, kind="phase", text="every spool is empty"),
        ),
    )


def _round(number: int, rng: random.Random) -> RoundPart:
    f1 = 0.975 - 0.42 * math.exp(-number / 2.2) + rng.uniform(-0.01, 0.01)
    fpr = 0.012 + 0.29 * math.exp(-number / 1.9)
    start = 40.0 + (number - 1) * 16.0
    regions = {
        name: Score(
            accuracy=min(0.995, f1 + 0.01),
            f1=min(0.995, f1 + rng.uniform(-0.05, 0.02)),
            fpr=fpr * rng.uniform(0.6, 1.6),
        )
        for name in REGIONS
    }
    return RoundPart(
        round=number,
        region_updates=3 if number < 6 else 2,
        updates={name: 10 for name in REGIONS if name != "europe" or number < 6},
        accuracy=min(0.995, f1 + 0.012),
        f1=f1,
        fpr=fpr,
        worst_site_fpr=min(1.0, fpr * 3.1),
        worst_site="asia-warehouse",
        bytes_up_per_agent=18_944.0,
        accepted=number != 7,
        reason="" if number != 7 else "the worst site got worse",
        release=number if number != 7 else None,
        started_at_s=start,
        ended_at_s=start + 12.5,
        regions=regions,
        sites={
            f"{name}/{kind}": SiteScore(
                tp=int(60 * f1 * rng.uniform(0.9, 1.0)),
                fn=int(60 * (1 - f1)),
                fp=int(140 * fpr * rng.uniform(0.3, 2.0)),
                tn=140,
            )
            for name in REGIONS
            for kind in ("home", "office", "factory", "shop", "clinic", "farm", "campus", "estate", "lab", "depot")
        },
    )


def _agent(home: str, index: int, rng: random.Random) -> AgentHistory:
    sessions = [(12.0 + index * 0.4, home)]
    if home == "europe":
        noticed = KILL_S + rng.uniform(0.05, 0.3)
        elsewhere = REGIONS[0] if index % 3 else REGIONS[2]
        sessions += [(noticed, ""), (noticed + rng.uniform(0.4, 3.5), elsewhere)]
    releases = [(14.0 + rng.random(), 0)]
    releases += [(40.0 + number * 16.0 - 3.0 + rng.uniform(0, 1.5), number) for number in range(1, 11) if number != 7]
    return AgentHistory(
        agent=f"{home}-{index:02d}",
        home=home,
        site=f"{home}-site-{index % 4}",
        kind="process" if index == 0 else "in-process",
        sessions=tuple(sessions),
        releases=tuple(releases),
    )


def _timeline(agents: tuple[AgentHistory, ...], produced: int) -> tuple[Sample, ...]:
    samples: list[Sample] = []
    for step in range(int(END_S) + 1):
        at_s = float(step)
        made = int(produced * min(1.0, max(0.0, (at_s - 14) / 190)))
        behind = 900 if KILL_S < at_s < KILL_S + 4 else (180 if 14 < at_s < 210 else 0)
        here = [([region for since, region in agent.sessions if since <= at_s] or [""])[-1] for agent in agents]
        samples.append(
            Sample(
                at_s=at_s,
                produced=made,
                acknowledged=max(0, made - behind),
                decisions=made,
                spool_bytes=behind * 80,
                connected={name: here.count(name) for name in REGIONS},
            )
        )
    return tuple(samples)


def _histogram() -> tuple[tuple[float, int], ...]:
    buckets = [2 ** (step / 8) for step in range(18, 72)]
    counts = [(edge, int(9000 * math.exp(-((math.log(edge / 14.2)) ** 2) / 0.25))) for edge in buckets]
    return tuple((edge, count) for edge, count in counts if count)
