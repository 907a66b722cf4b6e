"""What real captures and logs hold, beside an independent parser (dpkt) and the numbers their makers state."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nervure_core.errors import InputError
from nervure_edge.network import FlowMeter, MeterSettings, meter_capture, open_records
from nervure_edge.network.capture import open_capture
from nervure_edge.network.dataset import load_features
from nervure_edge.network.flow import Flow

Totals = Counter[tuple[str, tuple[tuple[str, int], ...]]]
FOREVER = MeterSettings(idle_s=86_400, attempt_s=86_400, active_s=86_400, close_s=600, max_flows=1_000_000)


def captures(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*.pcap*") if path.is_file())
    assert found
    return found


def totals_of(flows: list[Flow]) -> tuple[Totals, Totals]:
    packets, size = Totals(), Totals()
    for flow in flows:
        if flow.proto in ("tcp", "udp"):
            ends = (flow.proto, tuple(sorted([(flow.src, flow.sport), (flow.dst, flow.dport)])))
            packets[ends] += flow.spkts + flow.dpkts
            size[ends] += flow.sbytes + flow.dbytes
    return packets, size


def totals_by_dpkt(path: Path) -> tuple[Totals, Totals]:
    dpkt = pytest.importorskip("dpkt")
    packets, size = Totals(), Totals()
    with path.open("rb") as file:
        try:
            reader: Any = dpkt.pcap.UniversalReader(file)
        except ValueError:
            pytest.skip(f"dpkt cannot open {path.name}")
        link = reader.datalink()
        for _, frame in reader:
            network: Any = (
                dpkt.sll.SLL(frame) if link == dpkt.pcap.DLT_LINUX_SLL else dpkt.ethernet.Ethernet(frame)
            ).data
            transport: Any = getattr(network, "data", b"")
            if isinstance(network, dpkt.ip.IP):
                family, length = socket.AF_INET, network.len
            elif isinstance(network, dpkt.ip6.IP6):
                family, length = socket.AF_INET6, 40 + network.plen
            else:
                continue
            proto = {dpkt.tcp.TCP: "tcp", dpkt.udp.UDP: "udp"}.get(type(transport))
            if proto is None:
                continue
            ends = [
                (socket.inet_ntop(family, network.src), transport.sport),
                (socket.inet_ntop(family, network.dst), transport.dport),
            ]
            packets[proto, tuple(sorted(ends))] += 1
            size[proto, tuple(sorted(ends))] += length
    return packets, size


def test_the_same_packets_and_bytes_as_dpkt(shared_data: Path) -> None:
    for path in captures(shared_data / "pcaps"):
        ours, theirs = totals_of(list(meter_capture(path, FOREVER))), totals_by_dpkt(path)
        # dpkt leaves the later fragments of a packet without ports, we find them their flow.
        assert {ends: n for ends, n in theirs[0].items() if ours[0][ends] < n} == {}, path.name
        assert {ends: n for ends, n in ours[0].items() if n > theirs[0][ends]} == {}, path.name
        assert ours[1] == theirs[1], path.name


def test_every_packet_is_accounted_for(shared_data: Path) -> None:
    for path in captures(shared_data):
        meter = FlowMeter(MeterSettings(max_flows=50))
        flows: list[Flow] = []
        with open_capture(path) as capture:
            for block in capture.blocks():
                meter.feed(block)
                flows += meter.ended()
            assert capture.problem == "", path.name
        meter.flush()
        flows += meter.ended()
        counts = meter.counts
        passed_over = counts.malformed + counts.arp + counts.not_ip + counts.fragments_lost
        assert counts.packets == capture.packets == passed_over + sum(flow.spkts + flow.dpkts for flow in flows)
        assert counts.malformed == 0, path.name


def test_what_was_done_in_the_range_is_what_flows_say(shared_data: Path) -> None:
    folder = shared_data / "pcaps" / "range"

    def states(name: str, **match: object) -> Counter[str]:
        flows = meter_capture(folder / name)
        return Counter(flow.state for flow in flows if all(getattr(flow, k) == v for k, v in match.items()))

    assert states("benign_http.pcap", proto="tcp") == {"SF": 150}
    assert states("syn_flood_hping.pcap")["RSTO"] == 8000
    assert states("nmap_syn.pcap", proto="tcp")["REJ"] >= 990
    assert states("ftp_bruteforce_hydra.pcap", service="ftp") == {"SF": 4}
    (ping,) = [flow for flow in meter_capture(folder / "ping.pcap") if flow.proto == "icmp"]
    assert ping.spkts == ping.dpkts == 20


def test_iot23_is_read_whole(shared_data: Path) -> None:
    counts: dict[str, tuple[int, int]] = {}
    for path in sorted((shared_data / "iot-23").glob("*.csv.gz")):
        data = load_features(path)
        assert data.skipped == 0
        assert np.isfinite(data.x).all()
        assert set(data.sites) == {path.name.removesuffix("-labeled.csv.gz")}
        counts[data.sites[0]] = (int((data.y == 0).sum()), int((data.y == 1).sum()))
    # The numbers that the data set's own readme states.
    assert counts["CTU-Malware-Capture-34-1"] == (1923, 21222)
    assert counts["CTU-Malware-Capture-8-1"] == (2181, 8222)
    assert counts["CTU-Honeypot-Capture-5-1"] == (1374, 0)
    assert sum(map(sum, counts.values())) == 46_662


def test_logs_of_other_tools_are_read_whole(shared_data: Path) -> None:
    expected = {
        "slips-portscan-horizontal.zeek-conn.log": ("zeek-tsv", 41),
        "slips-portscan-vertical.zeek-conn.log": ("zeek-json", 50),
        "slips-test9-mixed.zeek-conn.log": ("zeek-json", 576),
        "slips-test5-mixed.binetflow": ("argus", 296),
        "slips-test11-portscan.binetflow": ("argus", 66),
        "slips-test6-malicious.suricata-eve.json.gz": ("suricata-eve", 3512),
    }
    for name, (form, number) in expected.items():
        with open_records(shared_data / "flows" / name) as records:
            assert (records.format, len(list(records)), records.skipped) == (form, number, 0), name


def test_data_of_other_kinds_are_refused(shared_data: Path) -> None:
    for name in ("nsl-kdd/KDDTrain+.txt.gz", "unsw-nb15/UNSW_NB15_82332.csv.gz", "flows/cic_ids2017_multiclass.csv.gz"):
        with pytest.raises(InputError, match="no flow records"):
            open_records(shared_data / name)
        with pytest.raises(InputError, match="not a capture"):
            open_capture(shared_data / name)
