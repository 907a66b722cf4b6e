"""The directory: newest session wins, silence is noticed, sums never go back."""

from __future__ import annotations

from dataclasses import replace

from nervure_core.clock import VirtualClock
from nervure_core.messages import Running
from nervure_hub.context import AgentRecord, EventCounts, GatewayStats
from nervure_hub.directory import Directory
from nervure_hub.gateway import GatewayReport


def record(agent: str, gateway: str, session: str, at_s: float, state: str = "live") -> AgentRecord:
    return AgentRecord(
        agent, "europe", "hub", gateway, session, {}, "network", Running(), False, 0, None, at_s, at_s,
        "live" if state == "live" else "gone",
    )  # fmt: skip


def report(gateway: str, *records: AgentRecord, pid: int = 1, received: int = 0, whole: bool = False) -> GatewayReport:
    return GatewayReport(gateway, GatewayStats(gateway, pid, len(records), EventCounts(received)), records, whole)


def opened() -> tuple[Directory, VirtualClock]:
    clock = VirtualClock(wall_s=100.0)
    return Directory(silent_s=15.0, max_agents=3, clock=clock), clock


async def test_the_newest_session_counts_in_whatever_order_the_news_come() -> None:
    directory, _ = opened()
    await directory.report(report("b", record("cam", "b", "s2", 100.0)))
    await directory.report(report("a", record("cam", "a", "s1", 90.0, "gone")))
    assert [(item.gateway, item.state) for item in await directory.agents()] == [("b", "live")]
    await directory.report(report("b", record("cam", "b", "s2", 100.0, "gone")))
    assert [(item.gateway, item.state) for item in await directory.agents()] == [("b", "gone")]


async def test_the_silent_are_gone_until_heard_of_again() -> None:
    directory, clock = opened()
    await directory.report(report("a", record("cam", "a", "s1", 100.0)))
    clock.advance(16.0)
    assert [item.state for item in await directory.agents()] == ["gone"]
    await directory.report(report("a", replace(record("cam", "a", "s1", 100.0), last_seen_s=116.0)))
    assert [item.state for item in await directory.agents()] == ["live"]


async def test_a_whole_report_says_who_is_missing() -> None:
    directory, _ = opened()
    await directory.report(report("a", record("one", "a", "s1", 100.0), record("two", "a", "s2", 100.0)))
    await directory.report(report("a", record("two", "a", "s2", 100.0), whole=True))
    assert [(item.agent_id, item.state) for item in await directory.agents()] == [("one", "gone"), ("two", "live")]


async def test_sums_survive_a_gateways_restart() -> None:
    directory, _ = opened()
    await directory.report(report("a", pid=1, received=10))
    await directory.report(report("a", pid=2, received=3))
    await directory.report(report("b", pid=3, received=5))
    await directory.note_counters("lake", {"duplicates_dropped": 4.0})
    stats = await directory.stats()
    assert stats.events == EventCounts(received=18, duplicates_dropped=4)
    assert stats.extra == {"lake_duplicates_dropped": 4.0}
    assert stats.rss_mib > 1


async def test_only_so_many_are_remembered_and_the_live_are_never_forgotten() -> None:
    directory, _ = opened()
    gone = [record(f"gone-{index}", "a", f"g{index}", 50.0 + index, "gone") for index in range(3)]
    await directory.report(report("a", *gone))
    await directory.report(report("a", record("live-1", "a", "s1", 100.0), record("live-2", "a", "s2", 100.0)))
    assert [item.agent_id for item in await directory.agents()] == ["gone-2", "live-1", "live-2"]


async def test_a_new_directory_is_a_new_incarnation() -> None:
    first, second = opened()[0], opened()[0]
    assert await first.report(report("a")) == await first.report(report("a"))
    assert await first.report(report("a")) != await second.report(report("a"))
