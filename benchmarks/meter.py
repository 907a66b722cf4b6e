"""How many packets of a capture file become flows per second of one core.

Measured: ``FlowMeter`` from opening the file to the last flow, with its table bound at 32,768 flows, on a capture of about 400,000
packets made of the real captures at hand (scans, brute force, a lab DoS, many benign applications and devices), repeated with fresh
times; without them, of a deterministic mix of conversations. ``edge.meter_flood_packets_per_s`` is the worst case, a SYN flood in which
every third packet opens a flow; ``edge.sensor_packets_per_s`` goes on to the feature vectors of flow.v1.

Peers, on the same file in the same run, in turn: nfstream (C; one meter, no deep inspection, no statistics) and dpkt (Python; headers
parsed and nothing else). Rates are packets per second of CPU time, of all processes that a tool starts but without its import, so that
other work on the machine counts little; on an idle core that is the time on the clock. Medians of ``RUNS`` turns.
"""

from __future__ import annotations

import gc
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import dpkt

from benchmarks.harness import Row
from nervure_edge.network import FlowFeatures, FlowMeter
from nervure_edge.network.capture import open_capture
from nervure_edge.network.capture.block import ETHERNET

RUNS = 3
PACKETS = 400_000
DATA = Path(os.environ.get("NERVURE_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data"))


def run() -> list[Row]:
    """Measure all rows."""
    with tempfile.TemporaryDirectory() as folder:
        mixed, flood = Path(folder) / "mixed.pcap", Path(folder) / "flood.pcap"
        note = write_mixed(mixed)
        write_capture(flood, syn_flood())
        ours = {
            "meter": lambda: timed(meter, mixed),
            "sensor": lambda: timed(sensor, mixed),
            "flood": lambda: timed(meter, flood),
        }
        peers = {"nfstream": lambda: nfstream(mixed), "dpkt parse": lambda: timed(dpkt_parse, mixed)}
        floods = {"flood nfstream": lambda: nfstream(flood)}
        rates = in_turn({**ours, **peers, **floods})
        rss = rss_of_meter(mixed)
    return [
        Row(
            "edge.meter_packets_per_s",
            rates["meter"],
            "packets/s of one core",
            {name: rates[name] for name in peers},
            bar=200_000,
            note=note,
        ),
        Row("edge.sensor_packets_per_s", rates["sensor"], "packets/s of one core", note="to flow.v1 vectors"),
        Row(
            "edge.meter_flood_packets_per_s",
            rates["flood"],
            "packets/s of one core",
            {"nfstream": rates["flood nfstream"]},
            note="SYN flood: every third packet opens a flow",
        ),
        Row(
            "edge.meter_rss_mib",
            rss,
            "MiB",
            note="a process that meters the mixed capture, numpy and pydantic included",
        ),
    ]


def in_turn(tools: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Run all tools one after the other, several times; return the median rate of each."""
    rates: dict[str, list[float]] = {name: [] for name in tools}
    for _ in range(RUNS):
        for name, tool in tools.items():
            gc.collect()
            rates[name].append(tool())
    return {name: statistics.median(found) for name, found in rates.items()}


def timed(tool: Callable[[Path], int], path: Path) -> float:
    """Return the packets per second of CPU time of a tool that runs in this process."""
    before = time.process_time()
    return tool(path) / (time.process_time() - before)


def meter(path: Path) -> int:
    metered = FlowMeter()
    flows = 0
    with open_capture(path) as capture:
        for block in capture.blocks():
            metered.feed(block)
            flows += len(metered.ended())
    metered.flush()
    assert flows + len(metered.ended()) == metered.counts.flows
    return metered.counts.packets


def sensor(path: Path) -> int:
    metered, features = FlowMeter(), FlowFeatures()
    with open_capture(path) as capture:
        for block in capture.blocks():
            metered.feed(block)
            for flow in metered.ended():
                features.vector(flow)
    metered.flush()
    for flow in metered.ended():
        features.vector(flow)
    return metered.counts.packets


NFSTREAM = """
import resource, sys
from nfstream import NFStreamer

def cpu_s():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)

before = cpu_s()
stream = NFStreamer(
    source=sys.argv[1], n_dissections=0, statistical_analysis=False, idle_timeout=60, active_timeout=600, n_meters=1
)
packets = sum(flow.bidirectional_packets for flow in stream)
print(packets / (cpu_s() - before))
"""


def nfstream(path: Path) -> float:
    """Packets per second of nfstream, in a process of its own, for it forks its meter; without the time of its import."""
    command = [sys.executable, "-c", NFSTREAM, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def dpkt_parse(path: Path) -> int:
    packets = 0
    with path.open("rb") as file:
        for _, frame in dpkt.pcap.Reader(file):
            network = dpkt.ethernet.Ethernet(frame).data
            if isinstance(network, dpkt.ip.IP | dpkt.ip6.IP6):
                _ = (network.src, network.dst, getattr(network.data, "sport", 0), getattr(network.data, "dport", 0))
            packets += 1
    return packets


def rss_of_meter(path: Path) -> float:
    """Peak resident memory of a fresh process that meters a capture, in MiB."""
    script = (
        "import sys, resource; from pathlib import Path; from nervure_edge.network import meter_capture\n"
        "flows = sum(1 for _ in meter_capture(Path(sys.argv[1])))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def write_mixed(path: Path) -> str:
    """Write the mixed capture, and return what is in it."""
    frames = list(real_frames())
    if not frames:
        write_capture(path, conversations())
        return "no real captures here: a deterministic mix of conversations"
    write_capture(path, (frame for _ in range(-(-PACKETS // len(frames))) for frame in frames))
    return f"the real captures at hand, {len(frames)} packets, repeated"


def real_frames() -> Iterator[bytes]:
    for path in sorted(DATA.rglob("*.pcap*")) if DATA.is_dir() else []:
        if "flood" in path.name:  # has a row of its own, and would be a third of all packets
            continue
        with open_capture(path) as capture:
            for block in capture.blocks():
                if block.link == ETHERNET:
                    yield from (block.data[start:end] for _, start, end, _ in block.records)


def frame_of(source: int, sport: int, target: int, dport: int, flags: int, payload: int) -> bytes:
    head = struct.pack(">BBHHHBBHII", 0x45, 0, 40 + payload, 0, 0, 64, 6, 0, source, target)
    segment = struct.pack(">HHIIBBHHH", sport, dport, 1, 1, 0x50, flags, 512, 0, 0)
    return (b"\2" * 12 + b"\x08\0" + head + segment + b"x" * payload).ljust(60, b"\0")


def syn_flood() -> Iterator[bytes]:
    """Opening, answer, reset, each from another port: what hping3 leaves."""
    server, client = struct.unpack(">II", socket.inet_aton("10.0.0.1") + socket.inet_aton("10.9.9.9"))
    for number in range(PACKETS // 3):
        port = 1024 + number % 64_000
        yield frame_of(client, port, server, 80, 0x02, 0)
        yield frame_of(server, 80, client, port, 0x12, 0)
        yield frame_of(client, port, server, 80, 0x04, 0)


def conversations() -> Iterator[bytes]:
    """A thousand conversations at a time, about thirty packets each."""
    dice = random.Random(7)
    clients = [[dice.randrange(1 << 24) | 10 << 24, dice.randrange(1024, 65536)] for _ in range(1000)]
    for _ in range(PACKETS):
        client = dice.choice(clients)
        flags = 0x10
        if dice.random() < 1 / 30:
            client[1] = dice.randrange(1024, 65536)
            flags = 0x02
        ends = (client[0], client[1], 0x0A000001, 443)
        if dice.random() < 0.5 and flags == 0x10:
            ends = (*ends[2:], *ends[:2])
        yield frame_of(*ends, flags, dice.choice((0, 0, 100, 1400)))


def write_capture(path: Path, frames: Iterator[bytes]) -> None:
    """Write frames fifty microseconds apart."""
    time_us = 1_700_000_000_000_000
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, ETHERNET))
        for frame in frames:
            time_us += 50
            file.write(struct.pack("<IIII", time_us // 1_000_000, time_us % 1_000_000, len(frame), len(frame)) + frame)


warnings.filterwarnings("ignore", module="dpkt")
