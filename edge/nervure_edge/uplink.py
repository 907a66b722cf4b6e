"""The agent's end of the call: one hub over grpc.aio.

Rules:
- The only file of the agent that touches gRPC and generated code; domain messages go in and come out.
- A stream that a server cuts surfaces as ``AioRpcError`` or as ``asyncio.InvalidStateError``, one that we closed as
  ``UsageError`` or even as ``CancelledError``: all of them leave here as ``LinkDownError``.
- Artifacts come over the same channel as the session, so a hub that is reachable for one is for the other.

>>> link = GrpcLink("localhost:7443")  # doctest: +SKIP
>>> await link.ready(); await link.send(hello); await link.receive()  # doctest: +SKIP
Welcome(...)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Generator
from typing import TypeAlias

import grpc
import grpc.aio

from nervure.v1 import artifacts_pb2, artifacts_pb2_grpc, session_pb2, session_pb2_grpc
from nervure_core.codec import decode_hub, encode_agent
from nervure_core.messages import AgentMessage, HubMessage
from nervure_core.transport import TlsFiles, channel
from nervure_edge.config import SessionSettings
from nervure_edge.models.fetch import NoSuchArtifactError
from nervure_edge.session import Link, LinkDownError

_LOOK_S = 2.0
_Call: TypeAlias = grpc.aio.StreamStreamCall[session_pb2.AgentFrame, session_pb2.HubFrame]


def dialer(settings: SessionSettings) -> Callable[[str], Link]:
    """Return what makes the link to a hub.

    Raises:
        ConfigurationError: A TLS file cannot be read: said now, not at the first failover.
    """
    tls = None
    if settings.ca_file and settings.certificate_file and settings.key_file:
        tls = TlsFiles(settings.ca_file, settings.certificate_file, settings.key_file)
        tls.read()
    return lambda hub: GrpcLink(hub, tls)


class GrpcLink:
    """A channel to one hub with the session's stream on it.

    Args:
        hub: ``host:port``.
        tls: Certificates; None speaks in the clear.

    Raises:
        ConfigurationError: A TLS file cannot be read.
    """

    def __init__(self, hub: str, tls: TlsFiles | None = None) -> None:
        self._hub = hub
        self._channel = channel(hub, tls)
        self._call: _Call | None = None

    def __repr__(self) -> str:
        return f"<GrpcLink {self._hub}>"

    async def ready(self) -> None:
        # The first failure is the answer: our own waits with jitter replace gRPC's retries.
        state = self._channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                raise LinkDownError(await _why_not(self._hub))
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)

    async def send(self, message: AgentMessage) -> None:
        with self._mapped():
            if self._call is None:
                self._call = session_pb2_grpc.SessionServiceStub(self._channel).Connect()
            await self._call.write(encode_agent(message))

    async def receive(self) -> HubMessage | None:
        if self._call is None:
            raise LinkDownError(f"nothing was sent to {self._hub} yet")
        with self._mapped():
            frame = await self._call.read()
        return decode_hub(frame) if isinstance(frame, session_pb2.HubFrame) else None

    async def finish(self) -> None:
        with self._mapped():
            if self._call is not None:
                await self._call.done_writing()

    async def fetch(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        request = artifacts_pb2.FetchRequest(sha256=sha256, offset=offset)
        call = artifacts_pb2_grpc.ArtifactServiceStub(self._channel).Fetch(request)
        try:
            with self._mapped(sha256):
                async for chunk in call:
                    if chunk.offset != offset:
                        raise LinkDownError(f"artifact {sha256[:12]}…: chunk at {chunk.offset} where {offset} was due")
                    offset += len(chunk.data)
                    yield chunk.data
        finally:
            call.cancel()

    async def close(self) -> None:
        if self._call is not None:
            self._call.cancel()
        await self._channel.close()

    @contextlib.contextmanager
    def _mapped(self, sha256: str = "") -> Generator[None, None, None]:
        """Turn every way a call may fail into our own errors."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            if sha256 and error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                raise NoSuchArtifactError(self._hub, sha256) from error
            raise LinkDownError(f"{self._hub}: {error.code().name.lower()}: {error.details()}") from error
        except (asyncio.InvalidStateError, grpc.aio.UsageError, grpc.aio.InternalError) as error:
            raise LinkDownError(f"{self._hub}: the stream was cut") from error
        except asyncio.CancelledError:
            # grpc.aio says so too when the channel is closed under a call; nobody may have cancelled us. A task that
            # took it for its own end would be gone for good, silently.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise LinkDownError(f"{self._hub}: the channel was closed") from None


async def _why_not(hub: str) -> str:
    """Return why ``hub`` can't be reached: gRPC tells a refused connection from a stranger's protocol to nobody."""
    host, _, port = hub.rpartition(":")
    try:
        async with asyncio.timeout(_LOOK_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        return f"{hub} cannot be reached: no answer"
    except OSError as error:
        return f"{hub} cannot be reached: {_reason(error)}"
    writer.close()
    return (
        f"{hub} answers, but not as a hub does (check that it is the port for agents, and TLS at both ends or at none)"
    )


def _reason(error: OSError) -> str:
    # asyncio puts the address and the system's words into one text; the system's words are enough here.
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)
