"""The smallest fleet that shows everything: two regions, real etcd, Ray, gRPC and processes, and one hub killed."""

from pathlib import Path

import pytest

from nervure_simulations.fleet.folder import prepare_folder
from nervure_simulations.fleet.runner import run_fleet
from nervure_simulations.report import write_report
from nervure_simulations.scenarios import Scenario
from nervure_simulations.sites import load_sites

pytestmark = [pytest.mark.ray, pytest.mark.etcd, pytest.mark.timeout(280)]


async def test_a_fleet_survives_its_hub_and_counts_everything_once(tmp_path: Path) -> None:
    scenario = Scenario.model_validate(
        {
            "name": "smallest",
            "regions": {
                "americas": {"agents": 2, "gateways": 1, "agent_processes": 0},
                "asia": {"agents": 2, "gateways": 1},
            },
            "traffic": {"replay_s": 8, "history": 0.5, "history_s": 2},
            "learning": {"rounds": 2, "epochs": 1, "interval_s": 2},
            "faults": [{"kind": "kill-hub", "region": "asia", "at": 0.5}],
            "min_f1": 0.0,
        }
    )
    out = tmp_path / "out"
    prepare_folder(out)
    report = await run_fleet(scenario, out, load_sites())
    _, page = write_report(report, out)
    assert (report.events.lost, report.events.stored_unique) == (0, report.events.produced)
    assert report.events.produced > 500
    assert report.models.agents_on_latest == report.models.agents == 4
    assert [one.round for one in report.rounds] == [1, 2]
    assert [(fault.region, fault.agents, fault.rehomed) for fault in report.faults] == [("asia", 2, 2)]
    assert report.resources.agent_rss_mib is not None
    assert {region for sample in report.timeline for region, count in sample.connected.items() if count} == {
        "americas",
        "asia",
    }
    assert page.stat().st_size > 50_000
