"""One hub: the real gateways over the real journal, and the real lake over a table in memory.

Rules: a gateway's process dies as an agent's does; the lake's process forgets what it pulled, its table keeps what was
committed. Who reads a journal whose gateway is down is told so, as over Ray.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nervure_core.errors import NervureError, WorldError
from nervure_core.messages import HubMessage
from nervure_hub.config import GatewayConfig, LakeConfig
from nervure_hub.gateway.journal import JournalSlice
from nervure_hub.gateway.links import GatewayReport
from nervure_hub.gateway.records import BadRecord, StoredLoss, decode_record
from nervure_hub.gateway.server import GatewayServer, GatewaySettings
from nervure_hub.lake import Lake
from nervure_hub.lake.ranges import SeqRanges
from nervure_hub.lake.rows import SCHEMA
from nervure_simulations.faults.disk import MemoryDisk, Mount
from nervure_simulations.faults.loop import NodeClock
from nervure_simulations.faults.network import HubStream

if TYPE_CHECKING:
    from nervure_simulations.faults.world import World

JOURNAL = Path("/hub/journal")


class SimGateway(GatewayServer):
    """The real gateway without a port: its agents come through ``GatewayNode.accept``."""

    async def _listen(self, stack: AsyncExitStack) -> None:
        """Nothing to listen on."""

    @property
    def journal_bytes(self) -> tuple[int, int]:
        """What the journal holds on disk, and what waits for it in memory."""
        return self._journal.size_bytes, self._journal.queued_bytes


class _NoArtifacts:
    async def size(self, key: str) -> int:
        raise WorldError(f"no artifact {key}")

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        raise WorldError(f"no artifact {key} [{offset}, +{length})")


class _Directory:
    async def report(self, report: GatewayReport) -> str:
        return "directory"


class GatewayNode:
    """One gateway's machine; a door of the network and a source of the lake."""

    def __init__(self, hub: HubNode, name: str, rng: random.Random) -> None:
        self.hub, self.name, self.rng = hub, name, rng
        self.label = f"{hub.address}/{name}"
        self.world = hub.world
        self.disk = MemoryDisk(random.Random(f"{hub.world.seed}/disk/{self.label}"))
        self.clock = NodeClock(hub.world.clock)
        self.up = False
        self.mount: Mount | None = None
        self.server: SimGateway | None = None
        self.pause_s = 0.0
        self.bytes_at_start = 0
        """A power cut may bring segments back that were removed: what a process finds is not its doing."""
        self._ending = asyncio.Event()
        self._power = False
        self._sessions: dict[asyncio.Task[None], None] = {}

    async def live(self) -> None:
        """Run one process after the other, for ever."""
        while True:
            self._ending = asyncio.Event()
            mount = self.mount = Mount(self.disk, lambda: self.crash(power=self._power))
            try:
                await self._serve(mount)
            except WorldError:
                self.world.trace(self.label, "can't start")
            mount.kill()
            self.up, self.server = False, None
            await self.clock.sleep(max(self.pause_s, 0.05))
            self.pause_s = 0.0
            self.world.trace(self.label, "starts")

    async def _serve(self, mount: Mount) -> None:
        plan = self.world.plan
        self.bytes_at_start = self.disk.used_bytes
        config = GatewayConfig(heartbeat_s=1.0, ack_delay_s=0.01, drain_s=1.0).model_copy(
            update={
                "credit_bytes": plan.credit_bytes,
                "journal_segment_bytes": plan.journal_segment_bytes,
                "journal_quota_bytes": plan.journal_quota_bytes,
                "journal_queue_bytes": plan.journal_queue_bytes,
            }
        )
        hubs = self.world.addresses
        settings = GatewaySettings(
            self.name, self.hub.address, self.hub.address, "", 0, JOURNAL, config, self.hub.address, hubs
        )
        server = self.world.parts.gateway(
            settings,
            _NoArtifacts(),
            _Directory(),
            clock=self.clock,
            disk=mount,
            schedule=self._soon,
        )
        async with server:
            self.server, self.up = server, not mount.dead
            await self._ending.wait()
            self.up = False
            if mount.dead:
                for session in list(self._sessions):
                    session.cancel()
        self.world.trace(self.label, "is down" if mount.dead else "has stopped in order")

    def _soon(self, work: Callable[[], None]) -> None:
        """Do what the journal's thread would, a little later."""
        asyncio.get_running_loop().call_later(self.world.disk_delay_s(), work)

    def accept(self, stream: HubStream) -> None:
        """Serve an agent's stream."""
        server = self.server
        if server is None or not self.up:
            stream.end(broken=True)
            return

        async def serve() -> None:
            broken = True
            try:
                await server.serve_session(_Watched(stream))
                broken = False
            except NervureError as error:
                self.world.trace(self.label, f"session of {stream.peer} ends: {error.code}")
            finally:
                stream.end(broken=broken)

        session = self.world.group.create_task(serve())
        self._sessions[session] = None
        session.add_done_callback(lambda done: self._sessions.pop(done, None))

    def crash(self, *, power: bool) -> None:
        """Kill the process, or cut the machine's power."""
        if self.mount is None or self.mount.dead:
            return
        self.world.trace(self.label, "loses its power" if power else "is killed")
        self.up = False
        self.mount.kill()
        if power:
            self.disk.power_cut()
        self.world.network.cut_all(self.label, silently=power and self.rng.random() < 0.5)
        self._ending.set()

    def die_in(self, operations: int, *, power: bool) -> None:
        """Die in the middle of one of the next operations on the disk."""
        if self.mount is not None:
            self.mount.crash_in, self._power = operations, power

    def stop(self) -> None:
        """Ask for an end in order."""
        self._ending.set()

    # As a source of the lake

    async def read_journal(self, from_seq: int, max_bytes: int) -> JournalSlice:
        if self.server is None or not self.up:
            raise WorldError("the gateway is down")
        found = await self.server.read_journal(from_seq, max_bytes)
        self.hub.note_losses(found)
        return found

    async def drop_journal(self, seq: int) -> int:
        if self.server is None or not self.up:
            raise WorldError("the gateway is down")
        async with asyncio.timeout(5.0):
            return await self.server.drop_journal(seq)


class _Watched:
    """A stream as the gateway sees it."""

    def __init__(self, stream: HubStream) -> None:
        self.peer = stream.peer
        self.receive = stream.receive
        self._stream = stream

    async def send(self, message: HubMessage) -> None:
        await self._stream.send(message)


class MemoryTable:
    """What ``EventTable`` promises, in memory; a commit may fail before it took place or after.

    Args:
        rng: Decides.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.tables: list[Any] = []
        self.taken: dict[str, int] = {}
        self.failing_share = 0.0

    def taken_up_to(self, journal_id: str) -> int:
        return self.taken.get(journal_id, 0)

    def append(self, rows: list[Any], journal_id: str, up_to: int) -> None:
        if self._rng.random() < self.failing_share:
            raise WorldError("can't add to the lake")
        self.tables.append(pa.concat_tables(rows))
        self.taken[journal_id] = up_to
        if self._rng.random() < self.failing_share:
            raise WorldError("the lake's process died after its commit")

    def ranges(self, threads: int) -> list[tuple[str, str, int, int]]:
        columns = [self.dataset().column(name).to_pylist() for name in ("agent", "stream", "seq")]
        return [(agent, stream, seq, seq + 1) for agent, stream, seq in zip(*columns, strict=True)]

    def dataset(self) -> Any:
        return pa.concat_tables(self.tables) if self.tables else SCHEMA.empty_table()


class HubNode:
    """One hub of one region."""

    def __init__(self, address: str, world: World, gateways: int) -> None:
        self.address, self.world = address, world
        self.table = MemoryTable(random.Random(f"{world.seed}/table/{address}"))
        self.losses: dict[bytes, SeqRanges] = {}
        self.gateways = [
            GatewayNode(self, f"g{number}", random.Random(f"{world.seed}/{address}/{number}"))
            for number in range(gateways)
        ]
        self.lake = self._new_lake()

    def _new_lake(self) -> Lake:
        lake = self.world.parts.lake(
            Path("/hub/lake"), LakeConfig(query_threads=1), clock=self.world.clock, table=self.table
        )
        for gateway in self.gateways:
            lake.add_source(gateway)
        return lake

    def forget_lake(self) -> None:
        """Kill the lake's process; its table stays."""
        self.world.trace(self.address, "the lake is killed")
        self.lake = self._new_lake()

    async def compact_for_ever(self) -> None:
        """Compact, and begin anew whenever a commit failed, as a supervisor does."""
        while True:
            await self.world.clock.sleep(self.world.plan.compact_interval_s)
            await self.compact()

    async def compact(self) -> None:
        """Compact once."""
        try:
            stats = await self.lake.compact()
            self.world.trace(self.address, f"compacted: {stats.rows} rows, {stats.duplicates_dropped} duplicates")
        except NervureError as error:
            self.world.trace(self.address, f"compaction failed: {error.message}")
            if "died" in error.message:
                self.forget_lake()

    def note_losses(self, found: JournalSlice) -> None:
        """Remember the losses that the journal holds."""
        for record in found.records:
            try:
                entry = decode_record(record.klass, record.payload)
            except BadRecord:
                continue
            if isinstance(entry, StoredLoss):
                lost = entry.lost
                self.losses.setdefault(lost.stream_id, SeqRanges()).add(lost.from_seq, lost.to_seq)

    def stored(self) -> list[tuple[str, str, int, str]]:
        """Return (agent, stream in hex, sequence, subject) of every row in the table."""
        table = self.table.dataset()
        columns = [table.column(name).to_pylist() for name in ("agent", "stream", "seq", "subject")]
        return list(zip(*columns, strict=True))
