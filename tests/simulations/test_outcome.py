"""The report is made of what was counted: rehoming agent by agent, losses by subtraction, bars by comparison."""

from typing import Any

import pytest

from nervure_core.latency import LatencyHistogram
from nervure_simulations.fleet.agents import Reading
from nervure_simulations.fleet.outcome import Findings, Stored, Struck, build_report
from nervure_simulations.fleet.plan import plan_fleet
from nervure_simulations.fleet.recorder import Recorder
from nervure_simulations.fleet.watching import regional, round_part
from nervure_simulations.report import Report
from nervure_simulations.report.model import SiteScore
from nervure_simulations.scenarios import Scenario

ROW: dict[str, Any] = {
    "round": 1,
    "region_updates": 2,
    "regions": {"north": {"agents": 2, "examples": 9, "duration_s": 1.0}, "south": {"agents": 1}},
    "accuracy": 0.9,
    "f1": 0.97,
    "fpr": 0.02,
    "worst_site": "north/mill",
    "worst_site_fpr": 0.1,
    "bytes_up_per_agent": 2048.0,
    "accepted": True,
    "reason": "better",
    "release": 2,
    "started_at_s": 1_000_010.0,
    "duration_s": 2.5,
    "sites": {
        "north/mill": {"tp": 8, "fp": 1, "tn": 9, "fn": 2},
        "north/home": {"tp": 2, "fp": 0, "tn": 10, "fn": 0},
        "south/shop": {"tp": 0, "fp": 0, "tn": 5, "fn": 0},
    },
}


@pytest.fixture
def scenario() -> Scenario:
    return Scenario.model_validate(
        {
            "name": "two",
            "regions": {"north": {"agents": 2}, "south": {"agents": 1, "agent_processes": 0}},
            "learning": {"rounds": 1},
            "faults": [{"kind": "kill-hub", "region": "north"}],
            "min_f1": 0.95,
        }
    )


@pytest.fixture
def recorder() -> Recorder:
    now = iter([0.0, *([60.0] * 100)])
    recorder = Recorder(clock_s=lambda: next(now), wall_s=lambda: 1_000_000.0)
    recorder.session("north-01", "north", 1.0)
    recorder.session("north-02", "north", 1.0)
    recorder.session("south-01", "south", 1.0)
    recorder.session("north-01", "", 30.1)
    recorder.session("north-01", "south", 32.0)
    recorder.session("north-02", "", 30.2)
    recorder.round(round_part(ROW, recorder))
    return recorder


def findings(**changes: Any) -> Findings:
    latency = LatencyHistogram()
    for us in (10.0, 20.0, 30.0):
        latency.record(us)
    readings = {
        name: Reading(produced=10, acknowledged=10, decisions=12, release=2, latency=latency, rss_mib=rss)
        for name, rss in (("north-01", 90.0), ("north-02", None), ("south-01", None))
    }
    found = Findings(
        readings=readings,
        offline_decisions={"north-01": 7},
        stored=Stored(unique=30, rows=31),
        hub_stats={"south": {"events": {"duplicates_dropped": 4}}},
        hub_rss_mib={"north": 500.0, "south": 700.0},
        run={"initial": {"accuracy": 0.5, "f1": 0.4, "fpr": 0.3}, "latest": {"accuracy": 0.9, "f1": 0.97, "fpr": 0.02}},
        latest_release=2,
        faults=[Struck("kill-hub", "north", 30.0, 6)],
        sites={"north-01": "mill", "north-02": "home", "south-01": "shop"},
    )
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def bars(report: Report) -> dict[str, bool | None]:
    return {bar.id: bar.met for bar in report.bars}


def test_rehoming_is_measured_agent_by_agent(scenario: Scenario, recorder: Recorder) -> None:
    report = build_report(scenario, plan_fleet(scenario), recorder, findings())
    (fault,) = report.faults
    assert (fault.agents, fault.rehomed, fault.rehome_p95_s, fault.last_rehomed_at_s) == (2, 1, 2.0, 32.0)
    assert bars(report)["faults.north.rehomed"] is False
    assert report.inference.during_outage == 7


def test_what_is_produced_and_nowhere_stored_is_lost(scenario: Scenario, recorder: Recorder) -> None:
    report = build_report(scenario, plan_fleet(scenario), recorder, findings(stored=Stored(unique=28, rows=28)))
    assert report.events.lost == 2
    assert (bars(report)["events.lost"], bars(report)["events.stored"]) == (False, False)


def test_what_agents_say_they_dropped_is_lost_and_not_counted_twice(scenario: Scenario, recorder: Recorder) -> None:
    found = findings(stored=Stored(unique=27, rows=27))
    found.readings["north-01"] = Reading(produced=10, acknowledged=7, lost=3, decisions=12, release=2)
    assert build_report(scenario, plan_fleet(scenario), recorder, found).events.lost == 3


def test_more_stored_than_produced_is_no_success(scenario: Scenario, recorder: Recorder) -> None:
    report = build_report(scenario, plan_fleet(scenario), recorder, findings(stored=Stored(unique=31, rows=31)))
    assert bars(report)["events.stored"] is False


def test_totals_come_from_those_who_counted(scenario: Scenario, recorder: Recorder) -> None:
    report = build_report(scenario, plan_fleet(scenario), recorder, findings())
    assert (report.events.produced, report.events.stored_rows, report.events.duplicates_dropped) == (30, 31, 4)
    assert (report.inference.count, sum(count for _, count in report.inference.histogram)) == (36, 9)
    assert report.inference.processes_p50_us is not None
    assert (report.resources.agent_rss_mib, report.resources.hub_rss_mib) == (90.0, 700.0)
    assert report.models.agents_on_latest == 3
    assert report.regions["north"].sites == ("home", "mill")
    kept = bars(report)
    assert kept.pop("faults.north.rehomed") is False
    assert all(kept.values())


def test_a_candidate_below_the_bar_is_told(scenario: Scenario, recorder: Recorder) -> None:
    run = {"initial": {"accuracy": 0.5, "f1": 0.4, "fpr": 0.3}, "latest": {"accuracy": 0.5, "f1": 0.39, "fpr": 0.3}}
    told = bars(build_report(scenario, plan_fleet(scenario), recorder, findings(run=run)))
    assert (told["detection.f1"], told["detection.better_than_start"]) == (False, False)


def test_a_round_is_read_as_the_api_tells_it(recorder: Recorder) -> None:
    record = round_part(ROW, recorder)
    assert (record.started_at_s, record.ended_at_s, record.release) == (10.0, 12.5, 2)
    assert record.updates == {"north": 2, "south": 1}
    assert record.regions["north"].fpr == pytest.approx(1 / 20)
    assert record.regions["south"].f1 == 1.0


def test_a_round_that_failed_has_no_scores(recorder: Recorder) -> None:
    failed = {**ROW, "accuracy": None, "f1": None, "fpr": None, "worst_site_fpr": None, "accepted": False, "sites": {}}
    record = round_part(failed, recorder)
    assert (record.f1, record.release, record.regions) == (None, None, {})


def test_regions_are_summed_over_their_sites() -> None:
    scores = regional({"a/x": SiteScore(tp=1, fp=1, tn=1, fn=1), "a/y": SiteScore(tp=3, fp=0, tn=4, fn=0)})
    assert scores["a"].accuracy == pytest.approx(9 / 11)
    assert scores["a"].f1 == pytest.approx(8 / 10)


def test_time_does_not_go_back_in_a_history() -> None:
    recorder = Recorder(clock_s=lambda: 5.0, wall_s=lambda: 0.0)
    recorder.session("a", "north", 4.0)
    recorder.session("a", "south", 3.9)
    recorder.session("a", "south", 6.0)
    assert recorder.sessions_of("a") == ((4.0, "north"), (4.0, "south"))
