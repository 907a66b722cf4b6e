"""The fault simulator: it finds nothing in what is, finds what is planted, and a seed does the same every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nervure_core.events import EventBatch
from nervure_core.messages import Lost
from nervure_core.segment_log import SegmentLog
from nervure_edge.spool import Spool
from nervure_hub.lake import Lake
from nervure_hub.lake.ranges import SeqRanges
from nervure_simulations.faults import Fault, Outcome, Parts, draw, run_seed
from nervure_simulations.faults import command as faults_command
from nervure_simulations.faults.hub_node import SimGateway

SEEDS = 200
CHUNK = 20


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_seed_breaks_a_promise(first: int) -> None:
    for seed in range(first, first + CHUNK):
        outcome = run_seed(seed)
        assert not outcome.violations, f"nervure faults run --seed {seed}"
        assert outcome.made


def test_every_fault_happens_somewhere() -> None:
    plans = [draw(seed) for seed in range(SEEDS)]
    assert {fault for plan in plans for fault in plan.faults} == set(Fault)


def test_a_seed_does_the_same_again_here_and_in_another_process() -> None:
    program = (
        "from nervure_simulations.faults import run_seed; print([run_seed(seed).digest for seed in (3, 9, 17, 88)])"
    )
    here = str([run_seed(seed).digest for seed in (3, 9, 17, 88)])
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == here
    assert len(set(json.loads(here.replace("'", '"')))) == 4


class EagerGateway(SimGateway):
    """Acknowledges what it has not made durable."""

    def _submit(self, klass: int, record: bytes, token: Any) -> None:
        super()._submit(klass, record, token)
        self._on_durable([token])


class ForgetfulSpool(Spool):
    """Never says what it dropped."""

    def read(self, from_seq: int) -> Iterator[EventBatch | Lost]:
        return (item for item in super().read(from_seq) if not isinstance(item, Lost))


class HastyLog(SegmentLog):
    """Says durable and writes nothing down."""

    def sync(self) -> int:
        self._synced_seq = self._next_seq
        return self._synced_seq


class HastySpool(Spool):
    """Sends what a power cut may still take."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        bounds = {name: options[name] for name in ("segment_bytes", "quota_bytes", "disk")}
        self._log = HastyLog(folder / "log", **bounds)


class CarelessRanges(SeqRanges):
    """Takes everything for new."""

    def add(self, start: int, end: int) -> list[tuple[int, int]]:
        super().add(start, end)
        return [(start, end)]


class CarelessLake(Lake):
    """Stores what it has stored before."""

    def _new_rows(self, entry: Any) -> list[Any]:
        if self._seen is not None:
            self._seen.setdefault((entry.agent_id, entry.batch.stream_id.hex()), CarelessRanges())
        return super()._new_rows(entry)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (Parts(gateway=EagerGateway), "gone"),
        (Parts(spool=ForgetfulSpool), ""),
        (Parts(spool=HastySpool), "goes on at"),
        (Parts(lake=CarelessLake), "stored twice"),
    ],
    ids=["ack before sync", "no Lost", "sent before durable", "no dedupe"],
)
def test_a_planted_bug_is_found_and_found_again(parts: Parts, words: str) -> None:
    found = _first_broken(parts)
    assert found is not None, "the simulator can't fail"
    assert any(words in violation for violation in found.violations)
    assert any("VIOLATION" in step for step in found.last_steps)
    assert run_seed(found.seed, parts) == found


def _first_broken(parts: Parts) -> Outcome | None:
    for seed in range(40):
        outcome = run_seed(seed, parts)
        if outcome.violations:
            return outcome
    return None


def test_the_command_tells_what_it_tried() -> None:
    done = CliRunner().invoke(faults_command.faults, ["run", "--seeds", "2", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.output)["seeds"] == 2
    again = CliRunner().invoke(faults_command.faults, ["run", "--seed", "3"])
    assert again.exit_code == 0
    assert "no promise was broken" in again.output


def test_the_command_says_how_to_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Outcome(57, ("agent-0: 3 events are gone",), "d", 9, 9, 1.0, 3, 0, 0, 0, ("1.0 the last step",))
    monkeypatch.setattr("nervure_simulations.faults.run_seed", lambda _seed: broken)
    done = CliRunner().invoke(faults_command.faults, ["run", "--seeds", "1"])
    assert done.exit_code == faults_command.EXIT_VIOLATED
    for words in ("3 events are gone", "the last step", "nervure faults run --seed 57"):
        assert words in done.output
