"""From a capture and its truth to a labelled flow table, by the same flow meter that an agent runs.

Rules:
    1. Flows stand in the order in which they ended; the first `train_rows` of them ended before the cut and are what
       an agent may replay and learn from, the rest is held out.
    2. An episode keeps at most `MOST_FLOWS_AN_EPISODE` flows, its first ones; how many were left out is written down.
       The range's own attacks are bounded below that: the cap is for captures made elsewhere.
    3. Flows that began before the range's second zero (addresses being set up) are nobody's and are left out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nervure_core.errors import InputError
from nervure_edge.network.flow import ATTACK, BENIGN, Flow
from nervure_edge.network.meter import meter_capture
from nervure_edge.network.records.flow_table import in_order_of_end
from nervure_simulations.ranges.truth import Window, label_of, read_truth

MOST_FLOWS_AN_EPISODE = 40


@dataclass(frozen=True, slots=True)
class LabelledSite:
    """One site's flows, labelled and in the order in which they ended, with where the held-out part begins."""

    site: str
    region: str
    profile: str
    devices: tuple[str, ...]
    flows: tuple[Flow, ...]
    train_rows: int
    left_out: int
    """Flows of over-long episodes that were left out."""
    tools: dict[str, str]
    facts: dict[str, Any]
    """How it was made, copied to the index."""

    @property
    def counts(self) -> dict[str, int]:
        """Flows by kind of attack; "benign" for the innocent ones."""
        return dict(sorted(Counter(flow.attack or BENIGN for flow in self.flows).items()))


def label_flows(flows: Sequence[Flow], windows: Sequence[Window], site: str) -> list[Flow]:
    """Return the flows with their labels."""
    labelled: list[Flow] = []
    for flow in flows:
        kind = label_of(
            windows,
            start_us=flow.start_us,
            source=flow.src,
            target=flow.dst,
            port=flow.dport,
            protocol=flow.proto,
            source_port=flow.sport,
        )
        labelled.append(replace(flow, label=ATTACK if kind else BENIGN, attack=kind, site=site))
    return labelled


def cap_episodes(flows: Sequence[Flow], windows: Sequence[Window], most: int) -> tuple[list[Flow], int]:
    """Keep at most `most` attack flows of each episode, the first ones, and say how many were left out."""
    kept: list[Flow] = []
    seen: Counter[tuple[str, int]] = Counter()
    for flow in flows:
        if flow.attack:
            begun = [w.start_us for w in windows if w.kind == flow.attack and w.start_us <= flow.start_us + 250_000]
            episode = (flow.attack, max(begun, default=0))
            seen[episode] += 1
            if seen[episode] > most:
                continue
        kept.append(flow)
    return kept, len(flows) - len(kept)


def convert_site(pcap: Path) -> LabelledSite:
    """Measure, label and order the flows of one capture; its truth lies beside it as `<site>.truth.json`.

    Raises:
        InputError: The capture or its truth is not there or damaged, or a part of the split lacks a class.
    """
    truth = pcap.with_name(pcap.name.removesuffix(".pcap") + ".truth.json")
    windows, facts = read_truth(truth)
    measured = [flow for flow in meter_capture(pcap) if flow.start_us >= facts["start_us"]]
    labelled = label_flows(in_order_of_end(measured), windows, facts["site"])
    flows, left_out = cap_episodes(labelled, windows, MOST_FLOWS_AN_EPISODE)
    train_rows = sum(flow.end_us < facts["cut_us"] for flow in flows)
    for name, part in (("part to learn from", flows[:train_rows]), ("held-out part", flows[train_rows:])):
        if {flow.label for flow in part} != {ATTACK, BENIGN}:
            raise InputError(f"{pcap}: its {name} lacks attacks or innocent flows", hint="run the range again, longer")
    return LabelledSite(
        site=facts["site"],
        region=facts["region"],
        profile=facts["profile"],
        devices=tuple(facts["devices"]),
        flows=tuple(flows),
        train_rows=train_rows,
        left_out=left_out,
        tools=dict(facts["tools"]),
        facts={"seed": facts["seed"], "seconds": facts["seconds"]},
    )
