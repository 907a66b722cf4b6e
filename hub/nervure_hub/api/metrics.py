"""Counters in Prometheus' format, made from the hub's own numbers at the moment of the question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nervure_hub.context import AgentRecord, HubStats


class _Snapshot(Collector):
    """Turns one reading into metric families."""

    def __init__(self, region: str, stats: HubStats, agents: Sequence[AgentRecord]) -> None:
        self._region = region
        self._stats = stats
        self._agents = agents

    def collect(self) -> Iterable[Metric]:
        region = self._region
        for name, text in (
            ("received", "Events that arrived, repeats included."),
            ("stored", "Events made durable in a journal."),
            ("duplicates_dropped", "Events dropped because they were here already."),
            ("lost_reported", "Events that agents said they had to drop."),
        ):
            family = CounterMetricFamily(f"nervure_hub_events_{name}", text, labels=["region", "gateway"])
            for gateway in self._stats.gateways:
                family.add_metric([region, gateway.name], asdict(gateway.events)[name])
            yield family
        sessions = GaugeMetricFamily("nervure_hub_sessions", "Agents connected.", labels=["region", "gateway"])
        journal = GaugeMetricFamily(
            "nervure_hub_journal_bytes", "Journal not yet compacted.", labels=["region", "gateway"]
        )
        malformed = CounterMetricFamily(
            "nervure_hub_malformed_frames", "Frames that broke the contract.", labels=["region", "gateway"]
        )
        for gateway in self._stats.gateways:
            sessions.add_metric([region, gateway.name], gateway.sessions)
            journal.add_metric([region, gateway.name], gateway.journal_bytes)
            malformed.add_metric([region, gateway.name], gateway.malformed_frames)
        yield from (sessions, journal, malformed)
        memory = GaugeMetricFamily("nervure_hub_resident_bytes", "Memory of the hub's processes.", labels=["region"])
        memory.add_metric([region], self._stats.rss_mib * 2**20)
        yield memory
        yield from self._fleet()
        for name, value in sorted(self._stats.extra.items()):
            extra = GaugeMetricFamily(f"nervure_hub_{name}", "See the hub's statistics.", labels=["region"])
            extra.add_metric([region], value)
            yield extra

    def _fleet(self) -> Iterable[Metric]:
        states = GaugeMetricFamily("nervure_agents", "Agents by state.", labels=["region", "state"])
        for state, number in sorted(Counter(agent.state for agent in self._agents).items()):
            states.add_metric([self._region, state], number)
        models = GaugeMetricFamily(
            "nervure_agents_running", "Live agents by what they run.", labels=["region", "model", "release"]
        )
        running = Counter(
            (agent.running.name, str(agent.running.release)) for agent in self._agents if agent.state == "live"
        )
        for (name, release), number in sorted(running.items()):
            models.add_metric([self._region, name, release], number)
        yield from (states, models)


def render(region: str, stats: HubStats, agents: Sequence[AgentRecord]) -> tuple[bytes, str]:
    """Return the metrics and their content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(region, stats, agents))
    return generate_latest(registry), CONTENT_TYPE_LATEST
