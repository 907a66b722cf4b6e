"""What a session stands on: a link to one hub, and the agent that it is for.

``Link`` is the seam to the network: ``nervure_edge.uplink`` is the real one. Every way in which a link can end is one
``LinkDownError``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from nervure_core.errors import WorldError
from nervure_core.messages import AgentMessage, AgentStatus, Desired, Hello, HubMessage, TaskOrder, Welcome
from nervure_edge.session.orders import Assembler
from nervure_edge.session.states import Happened
from nervure_edge.session.window import Window


class LinkDownError(WorldError):
    """The way to a hub does not exist or has broken."""

    code = "link_down"


class Link(Protocol):
    """A way to one hub: the seam to the network."""

    async def ready(self) -> None:
        """Return when the hub is reached.

        Raises:
            LinkDownError: It is not.
        """
        ...

    async def send(self, message: AgentMessage) -> None:
        """Send one frame; one caller at a time.

        Raises:
            LinkDownError: The stream has broken.
        """
        ...

    async def receive(self) -> HubMessage | None:
        """Return the next frame, None when the hub has ended the stream.

        Raises:
            LinkDownError: The stream has broken.
            MalformedFrame: The hub broke the contract.
        """
        ...

    async def finish(self) -> None:
        """Say that nothing more will be sent."""
        ...

    def fetch(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        """Yield an artifact's bytes from ``offset`` on; raises as ``models.deploy.Fetch`` says."""
        ...

    async def close(self) -> None:
        """Let go of everything; safe to call again."""
        ...


class Handler(Protocol):
    """What the agent does with a session."""

    def hello(self) -> Hello:
        """Return the first frame of a session."""
        ...

    def status(self) -> AgentStatus:
        """Return what the agent says of itself now."""
        ...

    def desired(self, desired: Desired) -> None:
        """Take the desired state."""
        ...

    def order(self, order: TaskOrder) -> None:
        """Take a task whose content is whole."""
        ...


class Connection:
    """One link to one hub and what runs on it."""

    def __init__(self, hub: str, link: Link) -> None:
        self.hub = hub
        self.link = link
        self.welcome: Welcome | None = None
        self.window = Window(0, 0)
        self.assembler = Assembler()
        self.happened: asyncio.Queue[Happened] = asyncio.Queue()
        self.wake = asyncio.Event()
        self.heartbeat_due = False
        self.leaving = False
        self.problem = ""
        self.heard_s = 0.0
        self.tasks: list[asyncio.Task[None]] = []
