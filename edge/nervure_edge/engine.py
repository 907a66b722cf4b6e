"""The decision loop: poll -> model -> decision -> event, in steps that a worker thread carries out.

Rules:
- One thread at a time runs ``step``; ``exchange`` may be called from any other. A step uses one model from its first row
  to its last, so rows that were made for a model are decided by that model: a swap drops nothing.
- Without a model nothing is polled: a file waits, a pipe holds its writer, a live capture drops in the kernel and counts
  it. Memory does not grow.
- A row on which the model fails is counted and skipped; the first few are logged, never each.
- Events are collected and closed into batches by number or age; coding and spooling happen between decisions, never
  inside the time that is measured as a decision's latency (features in, label out).
- Positive decisions are findings, the others samples (every ``benign_sample_every``-th one).

>>> engine.exchange(model); engine.step()  # doctest: +SKIP
<Progress.BUSY: 'busy'>
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import StrEnum
from time import perf_counter_ns
from typing import TYPE_CHECKING

from nervure_core.clock import Clock
from nervure_core.events import Event, EventKind
from nervure_core.latency import LatencyHistogram
from nervure_edge.config import EngineSettings, ResponseSettings, SpoolSettings
from nervure_edge.response import Firewall
from nervure_edge.spool import Spool
from nervure_edge.workloads.contract import ModelInput, Observation, Pipeline

if TYPE_CHECKING:
    from nervure_edge.decision import Decision
    from nervure_edge.examples import ExampleStore
    from nervure_edge.models.loaded import LoadedModel

logger = logging.getLogger(__name__)

_LOGGED_ERRORS = 5


class Progress(StrEnum):
    """What a step came to."""

    BUSY = "busy"
    IDLE = "idle"
    NO_MODEL = "waiting for a model"
    ENDED = "ended"


class Engine:
    """Decides what a pipeline senses.

    Args:
        workload: Name that events carry.
        spool: Takes the events.
        examples: Takes labelled rows.
        firewall: Takes blocks.
        clock: Time of events and of a batch's age.
        engine: Bounds of the loop.
        spooling: Bounds of a batch.
        response: What may be done.
        observer: Sees every event before it is coded, in the worker's thread; must be quick.
        on_spooled: Is called in the worker's thread after batches were put into the spool.
    """

    def __init__(
        self,
        workload: str,
        *,
        spool: Spool,
        examples: ExampleStore,
        firewall: Firewall,
        clock: Clock,
        engine: EngineSettings,
        spooling: SpoolSettings,
        response: ResponseSettings,
        observer: Callable[[Event], None] | None = None,
        on_spooled: Callable[[], None] | None = None,
    ) -> None:
        self._workload = workload
        self._spool = spool
        self._examples = examples
        self._firewall = firewall
        self._clock = clock
        self._settings = engine
        self._spooling = spooling
        self._response = response
        self._observer = observer
        self._on_spooled = on_spooled
        self._stepping = threading.Lock()
        self._closed = False
        self._pipeline: Pipeline | None = None
        self._next_model: LoadedModel | None = None
        self._model: LoadedModel | None = None
        self._pending: dict[EventKind, list[Event]] = {EventKind.FINDING: [], EventKind.SAMPLE: []}
        self._oldest_s = 0.0
        self._until_sample = 0
        self.latency = LatencyHistogram()
        """Features in to label out, of every decision since the start."""
        self.decisions = self.positives = self.blocks = self.errors = 0

    def attach(self, pipeline: Pipeline) -> None:
        """Give the engine what it polls; once, before the first step."""
        self._pipeline = pipeline

    @property
    def model(self) -> LoadedModel | None:
        """The model that the next step uses."""
        return self._next_model

    def exchange(self, model: LoadedModel) -> LoadedModel | None:
        """Make ``model`` the deciding one from the next step on; return the one before."""
        before, self._next_model = self._next_model, model
        return before

    def model_inputs(self) -> tuple[ModelInput, ...]:
        """Return the inputs that rows made now have to fit: those of the step that runs."""
        return self._model.inputs if self._model is not None else ()

    @property
    def source_problem(self) -> str:
        """Why the source ended before it should have; empty where all is well."""
        return str(getattr(self._pipeline, "problem", ""))

    def stats(self) -> dict[str, int]:
        """Return the pipeline's counters."""
        return self._pipeline.stats() if self._pipeline is not None else {}

    def step(self) -> Progress:
        """Poll once and decide everything that came.

        Raises:
            InputError: The source turned out not to be usable.
            WorldError: The source is lost.
        """
        with self._stepping:
            return Progress.ENDED if self._closed else self._step()

    def _step(self) -> Progress:
        model = self._model = self._next_model
        if model is None or self._pipeline is None:
            return Progress.NO_MODEL
        observations = self._pipeline.poll(self._settings.poll_limit)
        if observations is None:
            self._flush()
            return Progress.ENDED
        for observation in observations:
            self._decide(model, observation)
        if self._pending_events() >= self._spooling.flush_events or self._batch_is_old():
            self._flush()
        return Progress.BUSY if observations else Progress.IDLE

    def close(self) -> None:
        """Wait for the step that runs, spool what is collected and close the pipeline; safe to call again."""
        with self._stepping:
            if self._closed:
                return
            self._closed = True
            self._flush()
            if self._pipeline is not None:
                self._pipeline.close()

    def _flush(self) -> None:
        if not self._pending_events():
            return
        for kind, events in self._pending.items():
            if events:
                self._pending[kind] = []
                for start in range(0, len(events), self._spooling.flush_events):
                    self._spool.append(kind, events[start : start + self._spooling.flush_events])
        if self._on_spooled is not None:
            self._on_spooled()

    def _decide(self, model: LoadedModel, observation: Observation) -> None:
        started_ns = perf_counter_ns()
        try:
            decision = model.decide(observation.features)
        except Exception as error:  # noqa: BLE001 - onnxruntime has no common base; one bad row must not end the loop
            self.errors += 1
            if self.errors <= _LOGGED_ERRORS:
                logger.warning("no decision about %s: %s", observation.subject, str(error).strip()[:300])
            return
        latency_us = (perf_counter_ns() - started_ns) / 1e3
        self.latency.record(latency_us)
        self.decisions += 1
        if observation.truth is not None:
            self._examples.add_features(observation.features, observation.truth)
        if decision.positive:
            self.positives += 1
            self._collect(EventKind.FINDING, model, observation, decision, latency_us)
        elif self._sampled():
            self._collect(EventKind.SAMPLE, model, observation, decision, latency_us)

    def _sampled(self) -> bool:
        every = self._settings.benign_sample_every
        if not every:
            return False
        self._until_sample = (self._until_sample or every) - 1
        return self._until_sample == 0

    def _collect(
        self, kind: EventKind, model: LoadedModel, observation: Observation, decision: Decision, latency_us: float
    ) -> None:
        event = Event(
            observation.time_us,
            self._workload,
            observation.subject,
            decision.label,
            decision.score,
            self._act(observation, decision),
            model.manifest.name,
            model.manifest.release,
            latency_us,
            observation.detail,
        )
        if not self._pending_events():
            self._oldest_s = self._clock.monotonic_s()
        self._pending[kind].append(event)
        if self._observer is not None:
            self._observer(event)

    def _act(self, observation: Observation, decision: Decision) -> str:
        if not decision.positive:
            return "none"
        if self._response.mode == "block" and decision.may_block and observation.source:
            if self._firewall.block(observation.source, self._response.block_ttl_s):
                self.blocks += 1
            return "block"
        return "observe"

    def _pending_events(self) -> int:
        return sum(map(len, self._pending.values()))

    def _batch_is_old(self) -> bool:
        if not self._pending_events():
            return False
        return self._clock.monotonic_s() - self._oldest_s >= self._spooling.flush_interval_ms / 1e3
