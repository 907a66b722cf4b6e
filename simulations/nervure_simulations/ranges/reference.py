"""Reference sites: captures made by other hands, which nothing trains on.

They answer one question: does a model that learned on the range say anything sensible about traffic from elsewhere?
Two of them are shipped: an earlier lab of ours (CC0) and two traces of the Zeek project's test suite (BSD-3-Clause, see
the NOTICE beside the tables). A whole capture is one thing here, so the label goes by file and attacker's address.

Every row of a reference site is held out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nervure_core.errors import InputError
from nervure_edge.network.meter import meter_capture
from nervure_edge.network.records.flow_table import in_order_of_end
from nervure_simulations.ranges.convert import LabelledSite, cap_episodes, label_flows
from nervure_simulations.ranges.publish import publish_sites
from nervure_simulations.ranges.truth import Window

MOST_FLOWS_A_CAPTURE = 300
_FOREVER_US = 1 << 60
_LAB = ("10.77.0.2/31",)
_VICTIM = ("10.77.0.1",)


@dataclass(frozen=True, slots=True)
class ReferenceCapture:
    """One file of a reference site; without a window it is innocent throughout."""

    path: str
    window: Window | None = None


def _whole(kind: str, protocol: str, sources: tuple[str, ...], targets: tuple[str, ...]) -> Window:
    return Window(kind, 0, _FOREVER_US, sources, targets, protocol, None)


REFERENCES: Mapping[str, tuple[str, tuple[ReferenceCapture, ...]]] = MappingProxyType(
    {
        "reference-lab": (
            "CC0-1.0",
            (
                ReferenceCapture("range/benign_http.pcap"),
                ReferenceCapture("range/ping.pcap"),
                ReferenceCapture("range/nmap_syn.pcap", _whole("syn_scan", "tcp", _LAB, _VICTIM)),
                ReferenceCapture("range/nmap_connect_slow.pcap", _whole("connect_scan", "tcp", _LAB, _VICTIM)),
                ReferenceCapture("range/ftp_bruteforce_hydra.pcap", _whole("ftp_guessing", "tcp", _LAB, _VICTIM)),
                ReferenceCapture("range/syn_flood_hping.pcap", _whole("syn_flood", "tcp", _LAB, _VICTIM)),
            ),
        ),
        "reference-zeek": (
            "BSD-3-Clause",
            (
                ReferenceCapture(
                    "attack/ssh_guess.zeek.pcap",
                    _whole("ssh_guessing", "tcp", ("192.168.56.1",), ("192.168.56.103",)),
                ),
                ReferenceCapture("attack/dhcp_flood.zeek.pcap", _whole("dhcp_flood", "udp", ("128.2.0.0/16",), ())),
            ),
        ),
    }
)
"""Licence and captures of each reference site, under a folder of captures."""


def publish_references(captures: Path, out: Path) -> list[dict[str, Any]]:
    """Convert the reference captures that lie under a folder, and return their index rows.

    Raises:
        InputError: A capture is not there or damaged.
        WorldError: A table cannot be written.
    """
    rows: list[dict[str, Any]] = []
    for site, (licence, files) in REFERENCES.items():
        made = _reference(site, captures, files)
        rows += publish_sites([made], out, role="reference", licence=licence)
    return rows


def _reference(site: str, folder: Path, files: tuple[ReferenceCapture, ...]) -> LabelledSite:
    flows, left_out = [], 0
    for file in files:
        path = folder / file.path
        if not path.is_file():
            raise InputError(f"{path}: the capture is not there", hint="give the folder that holds range/ and attack/")
        windows = [file.window] if file.window else []
        labelled = label_flows(in_order_of_end(meter_capture(path)), windows, site)
        kept, cut = cap_episodes(labelled, windows, MOST_FLOWS_A_CAPTURE)
        flows += kept
        left_out += cut
    return LabelledSite(
        site=site,
        region="reference",
        profile="reference",
        devices=(),
        flows=tuple(in_order_of_end(flows)),
        train_rows=0,
        left_out=left_out,
        tools={},
        facts={"captures": [file.path for file in files]},
    )
