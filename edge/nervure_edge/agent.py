"""The agent: sensor -> features -> model -> decision -> (response, event), and a session with a hub beside it.

An ``Agent`` is a plain class: a process runs one, a simulator runs many in one process and gives them one executor with
at least one thread per agent. It keeps no global state.

Rules:
- ``async with`` owns the folder, the spool, the pipeline and the model; ``run`` works until it is told to stop, and
  returns when everything has ended in order: stop polling -> spool what is collected -> sync -> drain to the hub ->
  Goodbye.
- Nothing about hubs, certificates or clocks stops decisions: without a hub events rest in the spool.
- A source that turns out to be unusable ends the agent in the same order, then raises.

>>> async with Agent(config) as agent:  # doctest: +SKIP
...     await agent.run(once=True)
...     print(agent.summary())
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar

from nervure_core.clock import Clock, SystemClock
from nervure_core.errors import InputError, NervureError, PeerError, WorldError
from nervure_core.events import Event
from nervure_core.messages import AgentStatus, Desired, Hello, Running, TaskOrder
from nervure_edge.changes import Changes
from nervure_edge.config import MIB, AgentConfig
from nervure_edge.duties import Duties
from nervure_edge.engine import Engine, Progress
from nervure_edge.examples import ExampleStore
from nervure_edge.folder import FolderLock
from nervure_edge.models.deploy import DeployBounds, Deployer
from nervure_edge.models.slots import Slot, SlotStore
from nervure_edge.reports import hello_of, status_of, summary_of
from nervure_edge.response import Firewall, MemoryFirewall
from nervure_edge.session import SessionRunner, State
from nervure_edge.spool import Spool
from nervure_edge.syncing import keep_durable
from nervure_edge.workloads import Workload, WorkloadConfig, open_workload

if TYPE_CHECKING:
    # It brings numpy, which an agent without a model need not carry.
    from nervure_edge.models.loaded import LoadedModel

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_IDLE_S = 0.005
_LEAST_SYNC_S = 0.01
_PROTOCOL = "protocol"


class Agent:
    """One agent.

    Args:
        config: Validated configuration.
        clock: Where time comes from.
        executor: Runs steps, syncs, training and loading; None makes an own one of three threads.
        workload: Overrides the one that the configuration names.
        firewall: Overrides the list in memory.
        observer: Sees every event in the worker's thread; must be quick.
        rng: Source of jitter.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        clock: Clock | None = None,
        executor: Executor | None = None,
        workload: Workload | None = None,
        firewall: Firewall | None = None,
        observer: Callable[[Event], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.config = config
        self._clock = clock if clock is not None else SystemClock()
        self._own_executor = executor is None
        self._executor = executor
        self._workload = workload
        self._firewall = firewall or MemoryFirewall(config.response.max_blocks, self._clock.monotonic_s)
        self._observer = observer
        self._rng = rng if rng is not None else random.Random()
        self._examples = ExampleStore(config.training.max_examples, config.training.max_examples_mib * MIB)
        self._started_s = self._clock.monotonic_s()
        self._stop_wanted = False
        self._failure: NervureError | None = None
        self._source_lost = ""
        self._progress = Progress.IDLE
        self._uplink: SessionRunner | None = None
        self._duties: Duties | None = None

    def __repr__(self) -> str:
        return f"<Agent {self.config.agent_id} {self.workload_state} {self.session_state.value}>"

    async def __aenter__(self) -> Self:
        self._changes = Changes()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(3, thread_name_prefix=self.config.agent_id)
        try:
            await self._in_thread(self._open)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def _open(self) -> None:
        config = self.config
        self._lock = FolderLock(config.data)
        self._spool = Spool(
            config.data / "spool",
            quota_bytes=config.spool.quota_mib * MIB,
            segment_bytes=config.spool.segment_kib * 1024,
            monotonic_s=self._clock.monotonic_s,
        )
        self._slots = SlotStore(config.data / "models")
        self._engine = Engine(
            config.workload.name,
            spool=self._spool,
            examples=self._examples,
            firewall=self._firewall,
            clock=self._clock,
            engine=config.engine,
            spooling=config.spool,
            response=config.response,
            observer=self._observer,
            on_spooled=self._changes.notify_from_thread,
        )
        if self._workload is None:
            wanted = WorkloadConfig(config.workload.options, self._engine.model_inputs)
            self._workload = open_workload(config.workload.name, wanted)
        self._start_model()
        self._engine.attach(self._workload.open())
        self._uplink = self._make_uplink()
        self._duties = self._make_duties(self._uplink) if self._uplink is not None else None

    def _make_duties(self, uplink: SessionRunner) -> Duties:
        config = self.config
        deployer = Deployer(
            self._slots,
            fetch=uplink.fetch,
            exchange=self._exchange,
            report=uplink.post,
            bounds=DeployBounds(
                config.model.max_bundle_mib * MIB, config.model.probe_rows, config.model.fetch_timeout_s
            ),
            executor=self._executor,
        )
        return Duties(
            config,
            self._engine,
            self._examples,
            deployer=deployer,
            post=uplink.post,
            in_thread=self._in_thread,
            clock=self._clock,
            changes=self._changes,
            rng=self._rng,
        )

    def _start_model(self) -> None:
        settings = self.config.model
        if settings.bundle is None and self._slots.slot(settings.slot) == Slot():
            return
        from nervure_edge.models.starting import starting_model

        model = starting_model(self._slots, settings)
        if model is not None:
            self._check_fit(model)
            self._engine.exchange(model)

    def _make_uplink(self) -> SessionRunner | None:
        if not self.config.hubs:
            return None
        from nervure_edge.uplink import dialer  # brings gRPC, which an agent without hubs need not carry

        return SessionRunner(
            self.config.session,
            self.config.hubs,
            self._spool,
            self,
            dial=dialer(self.config.session),
            clock=self._clock,
            changes=self._changes,
            rng=self._rng,
        )

    async def _close(self) -> None:
        """Release everything that was opened, in the opposite order."""
        for name in ("_engine", "_spool"):
            part: Engine | Spool | None = getattr(self, name, None)
            if part is not None:
                await self._in_thread(part.close)
        lock: FolderLock | None = getattr(self, "_lock", None)
        if lock is not None:
            lock.release()
        if self._own_executor and isinstance(self._executor, ThreadPoolExecutor):
            self._executor.shutdown(wait=True)
            self._executor = None

    # What others may ask

    @property
    def session_state(self) -> State:
        """Where the session stands; ``RESTING`` without hubs."""
        return self._uplink.state if self._uplink is not None else State.RESTING

    @property
    def hub(self) -> str:
        """``host:port`` of the hub in session, empty without one."""
        return self._uplink.hub if self._uplink is not None else ""

    @property
    def region(self) -> str:
        """Region of the hub in session, empty without one."""
        return self._uplink.region if self._uplink is not None else ""

    @property
    def running(self) -> Running:
        """The model that decides now."""
        model = self._engine.model
        return model.running if model is not None else Running()

    @property
    def spool(self) -> Spool:
        """The spool, to look at."""
        return self._spool

    @property
    def engine(self) -> Engine:
        """The decision loop, to look at."""
        return self._engine

    @property
    def examples(self) -> ExampleStore:
        """The labelled rows, to look at."""
        return self._examples

    @property
    def uptime_s(self) -> float:
        """Seconds since this object was made."""
        return self._clock.monotonic_s() - self._started_s

    @property
    def source_ended(self) -> bool:
        """Whether the source has ended and all of it was decided."""
        return self._progress is Progress.ENDED

    @property
    def delivered(self) -> bool:
        """Whether every event so far is durable at a hub."""
        return self._spool.acknowledged_seq >= self._spool.next_seq

    @property
    def workload_state(self) -> str:
        """``running``, ``ended``, ``waiting for a model``, or what stopped it."""
        if self._source_lost:
            return self._source_lost
        return "running" if self._progress in (Progress.BUSY, Progress.IDLE) else self._progress.value

    async def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Return when ``predicate`` holds over this agent; bound it with ``asyncio.timeout``."""
        await self._changes.wait_for(predicate)

    def status(self) -> AgentStatus:
        """Return what the agent says of itself in every heartbeat."""
        return status_of(self)

    def summary(self) -> dict[str, Any]:
        """Return the counters as plain data, for people and machines."""
        return summary_of(self)

    # What a session asks of its handler

    def hello(self) -> Hello:
        """Return the first frame of a session."""
        return hello_of(self)

    def desired(self, desired: Desired) -> None:
        """Take the desired state."""
        if self._duties is not None:
            self._duties.desired(desired)

    def order(self, order: TaskOrder) -> None:
        """Take a task."""
        if self._duties is not None:
            self._duties.order(order)

    @property
    def tasks_done(self) -> int:
        """Orders answered since the start, also those that failed."""
        return self._duties.tasks_done if self._duties is not None else 0

    # Life

    def stop(self) -> None:
        """Ask ``run`` to end in order; safe to call at any time and again, from the loop's thread."""
        self._stop_wanted = True
        changes: Changes | None = getattr(self, "_changes", None)
        if changes is not None:
            changes.notify()

    async def run(self, *, once: bool = False) -> None:
        """Work until ``stop``.

        Args:
            once: Stop as well when the source has ended and, with hubs, everything is delivered or a hub speaks
                another protocol version.

        Raises:
            InputError: The source turned out to be unusable, or with ``once``: ended before it should have.
            WorldError: The source is lost; with ``once`` also: events could not be delivered, or there is neither a
                model nor a hub to get one from.
            PeerError: With ``once``: the hub speaks another protocol version.
        """
        async with asyncio.TaskGroup() as group:
            pause_s = max(self.config.spool.sync_interval_ms / 1e3, _LEAST_SYNC_S)
            syncing = keep_durable(self._spool, self._changes, self._clock, self._in_thread, self._durable, pause_s)
            helpers = [group.create_task(syncing)]
            uplink = group.create_task(self._uplink.run()) if self._uplink is not None else None
            if self._duties is not None:
                helpers += [group.create_task(self._duties.deploy()), group.create_task(self._duties.work())]
            deciding = group.create_task(self._decide_loop(once=once))
            await self._changes.wait_for(lambda: self._is_over(once=once))
            self._stop_wanted = True
            self._changes.notify()
            await deciding
            if self._duties is not None:
                self._duties.stop()
            await self._in_thread(self._engine.close)
            try:
                await self._in_thread(self._spool.sync)
            except WorldError as error:
                logger.warning("the last events may not be durable: %s", error)
            if self._uplink is not None and uplink is not None:
                if once and self._failure is None:
                    await self._deliver()
                self._uplink.stop()
                await uplink
            for helper in helpers:
                helper.cancel()
        if self._failure is not None:
            raise self._failure
        problem = self._engine.source_problem
        if problem and once:
            raise InputError(
                f"{problem}; what came before was decided",
                hint="copy or record the file again",
            )

    async def _deliver(self) -> None:
        """Wait until everything is durable at a hub; what is not in time stays in the spool, and is said."""
        session = self.config.session
        limit_s = max(session.drain_timeout_s, session.connect_timeout_s)
        if not await self._changes.wait_within(lambda: self.delivered, limit_s, self._clock):
            self._failure = WorldError(
                f"{self._spool.counts().pending} events could not be delivered"
                + (self._why_no_hub() or f" to {', '.join(self.config.hubs)}"),
                hint="they stay in the spool and leave with the next run in the same data folder",
            )

    def _is_over(self, *, once: bool) -> bool:
        if self._stop_wanted or self._failure is not None:
            return True
        refusal = self._uplink.refusal if self._uplink is not None else None
        if once and refusal is not None and refusal.code == _PROTOCOL:
            self._failure = PeerError(
                f"the hub refuses this agent: {refusal.message}", hint="install the same version of nervure on both"
            )
            return True
        if once and self._starved():
            self._failure = WorldError(
                "there is no model, and no hub to get one from" + self._why_no_hub(),
                hint="start the hub first, or give --model DIR",
            )
            return True
        return once and self.source_ended

    def _starved(self) -> bool:
        """Whether neither a model is here nor a hub was, for twice the time that a hub may take to answer."""
        uplink = self._uplink
        if uplink is None or uplink.sessions or not uplink.problem or self._engine.model is not None:
            return False
        return self.uptime_s > 2 * self.config.session.connect_timeout_s

    def _why_no_hub(self) -> str:
        return f": {self._uplink.problem}" if self._uplink is not None and self._uplink.problem else ""

    async def _decide_loop(self, *, once: bool) -> None:
        while not self._stop_wanted:
            try:
                progress = await self._in_thread(self._engine.step)
            except NervureError as error:
                self._failure, self._source_lost = error, str(error)
                self._changes.notify()
                return
            if progress is not self._progress:
                self._progress = progress
                self._changes.notify()
            if progress is Progress.ENDED:
                if self._engine.source_problem:
                    # A run that ends with its source fails with it; any other would not say it at all.
                    logger.log(logging.INFO if once else logging.WARNING, "%s", self._engine.source_problem)
                return
            if progress is Progress.NO_MODEL:
                await self._changes.wait_for(lambda: self._stop_wanted or self._engine.model is not None)
            elif progress is Progress.IDLE:
                await self._clock.sleep(_IDLE_S)

    def _durable(self) -> None:
        if self._uplink is not None:
            self._uplink.wake()

    def _exchange(self, model: LoadedModel) -> None:
        self._check_fit(model)
        self._engine.exchange(model)
        self._changes.notify_from_thread()

    def _check_fit(self, model: LoadedModel) -> None:
        from nervure_edge.models.starting import check_fit

        features: object = getattr(self._workload, "features", "")
        check_fit(model, self.config.workload.name, features if isinstance(features, str) else "")

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)
