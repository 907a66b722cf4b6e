"""The agent's own cost: what a decision takes beyond the model, what the process weighs, how soon it decides.

Measured with the model that the network workload runs (flow.v1, MLP 64-32, softmax):

- ``edge.decision_ratio_p50``: features in -> label out, beside a bare onnxruntime ``run`` of the same file with the same
  session options, in turn, row by row, in one process; the peer asks for the one output by name, which is its fastest form.
- ``edge.decision_p99_us``: the same decisions, 99th percentile of a turn of 2,000, median of 20 turns.
- ``edge.rss_mib``: a real agent process with model and trainer loaded, after a training task came from a hub and was
  done; ``edge.rss_idle_mib``: one in session without a model.
- ``edge.cold_start_s``: a real process, from the command to the first decision; the median of five.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from tests.edge.hub_twin import HubTwin

from benchmarks.harness import Row, median_of
from nervure_core.bundle import INFER, Bundle, read_bundle
from nervure_core.codec import encode_content
from nervure_core.messages import TaskKind, TaskOrder
from nervure_core.tensors import TaskContent
from nervure_edge.models.loaded import load_model
from nervure_edge.network.flow_v1 import COLUMNS
from nervure_federation.models import Purpose, Schedule, heavy_tailed, starting_bundle

ROWS = 2000
TURNS = 20
COLD_RUNS = 5


def run() -> list[Row]:
    """Measure everything; about 30 s."""
    with tempfile.TemporaryDirectory(prefix="nervure-bench-") as name:
        folder = Path(name)
        bundle = make_bundle(folder / "model")
        return [*decision_rows(bundle), *asyncio.run(memory_rows(bundle, folder)), cold_start_row(bundle, folder)]


def make_bundle(folder: Path) -> Bundle:
    rng = np.random.default_rng(1)
    x = rng.lognormal(size=(512, len(COLUMNS))).astype(np.float32)
    y = (x[:, 0] > 1).astype(np.int64)
    purpose = Purpose("flows", ("benign", "attack"), "benign", features="flow.v1", columns=COLUMNS)
    starting_bundle(folder, x, y, purpose, heavy=heavy_tailed(COLUMNS), hidden=(64, 32), schedule=Schedule(epochs=1))
    return read_bundle(folder)


def decision_rows(bundle: Bundle) -> list[Row]:
    model = load_model(bundle)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    bare = ort.InferenceSession(str(bundle.path(INFER)), options, providers=["CPUExecutionProvider"])
    names, decide = [bundle.manifest.decision.output], model.decide
    rng = np.random.default_rng(2)
    feeds = [{"x": rng.lognormal(size=(1, len(COLUMNS))).astype(np.float32)} for _ in range(ROWS)]

    def ours(feed: dict[str, Any]) -> object:
        return decide(feed)

    def theirs(feed: dict[str, Any]) -> object:
        return bare.run(names, feed)

    ratios: list[float] = []
    tails: list[tuple[float, float]] = []
    all_ours: list[int] = []
    all_theirs: list[int] = []
    gc.disable()
    try:
        for warm_up in (ours, theirs):
            timed(warm_up, feeds)
        for turn in range(TURNS):
            # In turn, and the one that goes first changes: neither profits from a warmer cache or a calmer machine.
            first, second = (ours, theirs) if turn % 2 else (theirs, ours)
            a, b = timed(first, feeds), timed(second, feeds)
            mine, other = (a, b) if turn % 2 else (b, a)
            ratios.append(statistics.median(mine) / statistics.median(other))
            tails.append((float(np.percentile(mine, 99)), float(np.percentile(other, 99))))
            all_ours += mine
            all_theirs += other
    finally:
        gc.enable()
    p50, bare_p50 = np.median(all_ours) / 1e3, np.median(all_theirs) / 1e3
    p99, bare_p99 = (statistics.median(turn[who] for turn in tails) / 1e3 for who in (0, 1))
    return [
        Row(
            "edge.decision_ratio_p50",
            round(statistics.median(ratios), 3),
            "x",
            {"onnxruntime run p50 µs": round(float(bare_p50), 2), "decision p50 µs": round(float(p50), 2)},
            1.25,
            "<=",
        ),
        Row(
            "edge.decision_p99_us",
            round(float(p99), 1),
            "µs",
            {"onnxruntime run": round(float(bare_p99), 1)},
            100,
            "<=",
        ),
    ]


def timed(call: Callable[[dict[str, Any]], object], feeds: list[dict[str, Any]]) -> list[int]:
    """Return the nanoseconds of each call."""
    clock = time.perf_counter_ns
    taken: list[int] = []
    for feed in feeds:
        start = clock()
        call(feed)
        taken.append(clock() - start)
    return taken


async def memory_rows(bundle: Bundle, folder: Path) -> list[Row]:
    table = write_table(folder / "rows.csv", 5000)
    async with HubTwin() as hub:
        hub.heartbeat_s = 0.1
        idle = await start(hub, "idle", table, folder)
        await hub.wait_for(lambda: len(hub.heartbeats) > 3)
        idle_mib = rss_mib(idle.pid)
        await stop(idle)
        hub.deploy(bundle)
        busy = await start(hub, "busy", table, folder)
        await hub.wait_for(lambda: any(beat.status.examples == 5000 for beat in hub.heartbeats))
        content = TaskContent(arrays={"arrays": bundle.weights()}, configs={"config": {"epochs": 3}})
        hub.order("busy", TaskOrder("t", "r", TaskKind.TRAIN, 1, 60.0, encode_content(content)))
        await hub.wait_for(lambda: hub.results)
        if not hub.results[0].ok:
            raise RuntimeError(hub.results[0].error)
        busy_mib = rss_mib(busy.pid)
        await stop(busy)
    return [
        Row("edge.rss_mib", busy_mib, "MiB", {}, 110, "<=", "in session, 5000 examples held, after training"),
        Row("edge.rss_idle_mib", idle_mib, "MiB", {}, 60, "<=", "in session, no model"),
    ]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nervure_core.command", "agent", "run", *arguments]


async def start(hub: HubTwin, agent: str, table: Path, folder: Path) -> asyncio.subprocess.Process:
    arguments = ["--input", str(table), "--option", "label=label", "--hub", hub.address, "--id", agent, "--json"]
    return await asyncio.create_subprocess_exec(
        *command(*arguments, "--data", str(folder / agent)), stdout=subprocess.DEVNULL
    )


async def stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    await process.wait()


def rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)


def write_table(path: Path, count: int) -> Path:
    rng = np.random.default_rng(3)
    values = rng.lognormal(size=(count, len(COLUMNS)))
    lines = [",".join((*COLUMNS, "label"))]
    lines += [",".join(f"{value:.4f}" for value in row) + (",attack" if row[0] > 1 else ",benign") for row in values]
    path.write_text("\n".join(lines) + "\n")
    return path


def cold_start_row(bundle: Bundle, folder: Path) -> Row:
    table = write_table(folder / "one.csv", 1)
    taken: list[float] = []

    def measure() -> float:
        data = folder / f"cold-{len(taken)}"
        arguments = ["--input", str(table), "--option", "label=label", "--model", str(bundle.folder), "--json"]
        started = time.perf_counter()
        process = subprocess.Popen(
            command(*arguments, "--print", "all", "--data", str(data)), stdout=subprocess.PIPE, text=True
        )
        if process.stdout is None:
            raise RuntimeError("no standard output")
        first = next(line for line in process.stdout if json.loads(line)["event"] == "finding")
        taken.append(time.perf_counter() - started)
        process.communicate()
        return taken[-1] if first else 0.0

    value = median_of(COLD_RUNS, measure)
    return Row("edge.cold_start_s", round(value, 3), "s", {}, 1.5, "<=", "command to first decision, median of five")
