"""The hub's end of the wire: the only file of the hub that touches generated types.

Rules
    1. Requests come as raw bytes and are parsed here, so that a frame that does not parse is ours to count and ends its
       own session, nothing else.
    2. A broken session ends with the status that ``nervure_core.status`` gives its error; an agent that is not taken
       gets a ``Refused`` frame and a normal end, because a refusal is an answer.
    3. Artifacts go out in chunks of at most 256 KiB, read by range from the object store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Protocol, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from nervure.v1 import artifacts_pb2, session_pb2
from nervure_core.codec import MalformedFrame, decode_agent, encode_hub
from nervure_core.errors import InputError, NervureError, PeerError, WorldError
from nervure_core.messages import MAX_PART_BYTES, AgentMessage, HubMessage
from nervure_core.status import status_of
from nervure_core.transport import TlsFiles, listen

_log = logging.getLogger(__name__)
_READ_AHEAD_BYTES = 4 * MAX_PART_BYTES

_Frames = grpc.aio.ServicerContext[bytes, session_pb2.HubFrame]
_Chunks = grpc.aio.ServicerContext[bytes, artifacts_pb2.Chunk]


_GONE = (asyncio.InvalidStateError, grpc.aio.UsageError, grpc.aio.InternalError)
"""How grpc.aio tells a reader or writer that the stream went away under it."""


class StreamCut(PeerError):
    """The connection ended without a word."""

    code = "stream_cut"


class Artifacts(Protocol):
    """Where artifacts are read."""

    async def size(self, key: str) -> int:
        """Return the bytes of an artifact.

        Raises:
            InputError: There is none of this hash.
        """
        ...

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return a range of an artifact."""
        ...


class SessionHost(Protocol):
    """The gateway as the service sees it."""

    async def serve_session(self, stream: AgentStream) -> None:
        """Serve one session to its end.

        Raises:
            NervureError: The session broke.
        """
        ...

    def count_malformed(self) -> None:
        """Count a frame that broke the contract."""
        ...


class AgentStream(Protocol):
    """One agent's stream in domain words: the seam to the network."""

    @property
    def peer(self) -> str:
        """The agent's address, for logs."""
        ...

    async def receive(self) -> AgentMessage | None:
        """Return the next message, None at the end.

        Raises:
            MalformedFrame: The bytes are no frame.
            StreamCut: Nobody is there any more.
        """
        ...

    async def send(self, message: HubMessage) -> None:
        """Send one message.

        Raises:
            StreamCut: Nobody is there any more.
        """
        ...


class _GrpcStream:
    def __init__(self, context: _Frames) -> None:
        self._context = context

    @property
    def peer(self) -> str:
        return self._context.peer()

    async def receive(self) -> AgentMessage | None:
        # At the end of the stream read() returns grpc.aio.EOF, which its stubs don't admit.
        try:
            data = cast("object", await self._context.read())
        except _GONE as error:
            raise StreamCut(f"the stream from {self.peer} was cut") from error
        if not isinstance(data, bytes):
            return None
        frame = session_pb2.AgentFrame()
        try:
            frame.ParseFromString(data)
        except DecodeError as error:
            raise MalformedFrame(f"{len(data)} bytes are no frame") from error
        return decode_agent(frame)

    async def send(self, message: HubMessage) -> None:
        try:
            await self._context.write(encode_hub(message))
        except _GONE as error:
            raise StreamCut(f"the stream from {self.peer} was cut") from error


class _Sessions:
    def __init__(self, host: SessionHost) -> None:
        self._host = host

    async def connect(self, _request: object, context: _Frames) -> None:
        stream = _GrpcStream(context)
        try:
            await self._host.serve_session(stream)
        except StreamCut as error:
            _log.info("%s", error.message)
        except NervureError as error:
            if isinstance(error, MalformedFrame):
                self._host.count_malformed()
            # A peer that breaks the contract is counted, not shouted about: it may do so a thousand times a second.
            level = logging.INFO if isinstance(error, PeerError) else logging.WARNING
            _log.log(level, "session from %s ended: %s", stream.peer, error.message)
            await _abort(context, error)


class _ArtifactReader:
    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    async def fetch(self, request: bytes, context: _Chunks) -> AsyncIterator[artifacts_pb2.Chunk]:
        wanted = artifacts_pb2.FetchRequest()
        try:
            wanted.ParseFromString(request)
        except DecodeError:
            await _abort(context, MalformedFrame(f"{len(request)} bytes are no FetchRequest"))
            return
        try:
            total = await self._artifacts.size(wanted.sha256)
            if wanted.offset > total:
                raise InputError(f"artifact {wanted.sha256} has {total} bytes, offset {wanted.offset} is beyond")
            end = min(total, wanted.offset + wanted.length) if wanted.length else total
            for start in range(wanted.offset, end, _READ_AHEAD_BYTES):
                block = await self._artifacts.get_range(wanted.sha256, start, min(_READ_AHEAD_BYTES, end - start))
                for at in range(0, len(block), MAX_PART_BYTES):
                    yield artifacts_pb2.Chunk(
                        offset=start + at, data=block[at : at + MAX_PART_BYTES], total_bytes=total
                    )
        except InputError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, error.message)
        except NervureError as error:
            await _abort(context, error)


async def _abort(context: _Frames | _Chunks, error: NervureError) -> None:
    status = status_of(error)
    await context.abort(status.grpc, error.message if status.public else "internal error")


def add_services(server: grpc.aio.Server, host: SessionHost, artifacts: Artifacts) -> None:
    """Register both services on a server."""
    sessions, reader = _Sessions(host), _ArtifactReader(artifacts)
    # The generated registration would parse requests before our code sees them; grpc's stubs know no None deserializer.
    rpc = cast("Any", grpc)
    server.add_generic_rpc_handlers(
        (
            rpc.method_handlers_generic_handler(
                "nervure.v1.SessionService",
                {
                    "Connect": rpc.stream_stream_rpc_method_handler(
                        sessions.connect, response_serializer=session_pb2.HubFrame.SerializeToString
                    )
                },
            ),
            rpc.method_handlers_generic_handler(
                "nervure.v1.ArtifactService",
                {
                    "Fetch": rpc.unary_stream_rpc_method_handler(
                        reader.fetch, response_serializer=artifacts_pb2.Chunk.SerializeToString
                    )
                },
            ),
        )
    )


def bind(grpc_server: grpc.aio.Server, address: str, tls: TlsFiles | None, *, clear: bool) -> int:
    """Bind a server and return the port.

    Raises:
        WorldError: The port is taken or may not be used.
    """
    try:
        return listen(grpc_server, address, tls, clear_beyond_loopback=clear)
    except RuntimeError as error:
        raise WorldError(
            f"can't listen on {address}: the address is taken or not of this machine",
            hint="choose another --port, or stop what listens there (ss -ltnp shows it)",
        ) from error
