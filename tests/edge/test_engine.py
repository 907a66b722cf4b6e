"""The decision loop without a network, and what it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.bundle import Bundle, write_bundle
from nervure_core.clock import VirtualClock
from nervure_core.events import Event
from nervure_edge.config import EngineSettings, ResponseSettings, SpoolSettings
from nervure_edge.engine import Engine, Progress
from nervure_edge.examples import ExampleStore
from nervure_edge.models.loaded import LoadedModel, load_model
from nervure_edge.response import MemoryFirewall
from nervure_edge.spool import Spool
from nervure_edge.workloads import Observation


class Rows:
    """A pipeline of prepared polls."""

    def __init__(self, *polls: list[Observation] | None) -> None:
        self._polls = list(polls)
        self.closed = 0

    def poll(self, limit: int) -> list[Observation] | None:
        return self._polls.pop(0) if self._polls else None

    def close(self) -> None:
        self.closed += 1

    def stats(self) -> dict[str, int]:
        return {"left": len(self._polls)}


def row(a: float, *, truth: str | None = None, source: str = "", width: int = 3) -> Observation:
    values = np.array([[a, *([0.0] * (width - 1))]], np.float32)
    return Observation(1, f"row {a}", {"x": values}, "{}", truth, source)


class Bench:
    """An engine with everything round it."""

    def __init__(self, folder: Path, model: LoadedModel | None, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.events: list[Event] = []
        self.spool = Spool(folder, quota_bytes=1 << 20)
        self.examples = ExampleStore(100, 1 << 20)
        self.firewall = MemoryFirewall(10, self.clock.monotonic_s)
        self.engine = Engine(
            "table",
            spool=self.spool,
            examples=self.examples,
            firewall=self.firewall,
            clock=self.clock,
            engine=settings.get("engine", EngineSettings()),
            spooling=settings.get("spooling", SpoolSettings()),
            response=settings.get("response", ResponseSettings()),
            observer=self.events.append,
        )
        if model is not None:
            self.engine.exchange(model)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> LoadedModel:
    return load_model(bundle)


def test_batches_close_by_age_number_and_end(tmp_path: Path, model: LoadedModel) -> None:
    bench = Bench(tmp_path, model, spooling=SpoolSettings(flush_events=4, flush_interval_ms=100))
    bench.engine.attach(Rows([row(1)], [], [], [row(1)] * 5, [row(-1)]))
    assert bench.engine.step() is Progress.BUSY
    assert bench.spool.next_seq == 0
    assert bench.engine.step() is Progress.IDLE
    bench.clock.advance(0.2)
    bench.engine.step()
    assert bench.spool.next_seq == 1
    bench.engine.step()
    assert bench.spool.next_seq == 6
    bench.engine.step()
    assert bench.engine.step() is Progress.ENDED
    assert bench.spool.next_seq == 7
    bench.spool.close()


def test_bad_rows_are_counted_and_the_others_decided(tmp_path: Path, model: LoadedModel) -> None:
    bench = Bench(tmp_path, model)
    bench.engine.attach(
        Rows([row(1), row(1, width=7), Observation(1, "s", {"y": np.zeros((1, 3))}), row(float("nan")), row(-1)])
    )
    bench.engine.step()
    assert (bench.engine.decisions, bench.engine.errors) == (2, 3)
    assert [event.label for event in bench.events] == ["attack", "benign"]
    bench.engine.close()
    bench.spool.close()


def test_sampling_of_negatives(tmp_path: Path, model: LoadedModel) -> None:
    bench = Bench(tmp_path, model, engine=EngineSettings(benign_sample_every=10))
    bench.engine.attach(Rows([row(-1)] * 100 + [row(1)] * 3))
    bench.engine.step()
    assert [event.label for event in bench.events] == ["benign"] * 10 + ["attack"] * 3
    silent = Bench(tmp_path / "silent", model, engine=EngineSettings(benign_sample_every=0))
    silent.engine.attach(Rows([row(-1)] * 100))
    silent.engine.step()
    assert silent.events == []
    for one in (bench, silent):
        one.engine.close()
        one.spool.close()


def test_blocking_needs_the_mode_the_score_and_a_source(tmp_path: Path, bundle: Bundle) -> None:
    files = {name: bundle.path(name).read_bytes() for name in bundle.manifest.files}
    decision = bundle.manifest.decision.model_copy(update={"block_threshold": 0.99})
    strict = load_model(write_bundle(tmp_path / "m", bundle.manifest.model_copy(update={"decision": decision}), files))
    bench = Bench(tmp_path / "s", strict, response=ResponseSettings(mode="block", block_ttl_s=60))
    bench.engine.attach(
        Rows([row(0.1, source="10.0.0.1"), row(1, source="10.0.0.2"), row(1), row(1, source="10.0.0.2")])
    )
    bench.engine.step()
    assert [event.action for event in bench.events] == ["observe", "block", "observe", "block"]
    assert bench.engine.blocks == 1
    assert list(bench.firewall.blocked()) == ["10.0.0.2"]
    bench.clock.advance(61)
    assert bench.firewall.blocked() == {}
    bench.engine.close()
    bench.spool.close()


def test_a_full_list_of_blocks_gives_up_the_one_that_ends_first() -> None:
    clock = VirtualClock()
    firewall = MemoryFirewall(2, clock.monotonic_s)
    assert firewall.block("a", 10)
    assert firewall.block("b", 5)
    assert not firewall.block("a", 20)
    assert firewall.block("c", 10)
    assert set(firewall.blocked()) == {"a", "c"}


def test_close_spools_what_is_collected_and_is_safe_to_repeat(tmp_path: Path, model: LoadedModel) -> None:
    bench = Bench(tmp_path, model)
    pipeline = Rows([row(1)], [row(1)])
    bench.engine.attach(pipeline)
    bench.engine.step()
    bench.engine.close()
    bench.engine.close()
    assert bench.spool.next_seq == 1
    assert pipeline.closed == 1
    assert bench.engine.step() is Progress.ENDED
    bench.spool.close()


def test_without_a_model_nothing_is_polled(tmp_path: Path, model: LoadedModel) -> None:
    bench = Bench(tmp_path, None)
    pipeline = Rows([row(1)])
    bench.engine.attach(pipeline)
    assert bench.engine.step() is Progress.NO_MODEL
    assert bench.engine.model_inputs() == ()
    assert pipeline.stats() == {"left": 1}
    bench.engine.exchange(model)
    assert bench.engine.step() is Progress.BUSY
    bench.engine.close()
    bench.spool.close()


@given(
    st.integers(0, 20),
    st.lists(st.tuples(st.floats(-1, 1, width=32), st.sampled_from(["benign", "attack", "strange"])), max_size=60),
)
def test_the_ring_holds_the_newest_rows_in_order(bound: int, rows: list[tuple[float, str]]) -> None:
    store = ExampleStore(bound, 1 << 20)
    for value, label in rows:
        store.add(np.array([[value]], np.float32), label)
    newest = rows[-bound:] if bound else []
    assert len(store) == len(newest)
    labels = ("benign", "attack")
    x, y = store.arrays(labels)
    known = [(value, label) for value, label in newest if label in labels]
    assert x.reshape(-1).tolist() == [value for value, _ in known]
    assert [labels[index] for index in y] == [label for _, label in known]
    assert sum(store.counts().values()) == len(newest)


def test_the_ring_is_bounded_in_bytes_and_starts_anew_for_another_schema() -> None:
    store = ExampleStore(1_000_000, 4000)
    for _ in range(500):
        store.add(np.zeros((1, 10), np.float32), "benign")
    assert len(store) == 100
    assert not store.add(np.zeros((1, 10), np.float64), "benign")
    assert store.add(np.zeros((1, 5), np.float32), "attack")
    assert store.counts() == {"attack": 1}
