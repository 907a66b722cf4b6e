"""Desired state in coordination: one key a model."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

from nervure_core.errors import PeerError, WorldError
from nervure_core.messages import Desired
from nervure_hub.coordination.contract import Coordination, KeyValue, Leadership
from nervure_hub.coordination.follow import follow
from nervure_hub.deployments.resolve import SLOT, AgentFacts, Deployment, Selector, resolve
from nervure_hub.registry.records import BundleRef, ModelMissing

DESIRED_PREFIX = "/nervure/desired/"
_TRIES = 10
_log = logging.getLogger(__name__)

_Change = Callable[[Deployment | None], Deployment]


class Deployments:
    """What is desired of every model.

    Args:
        coordination: Where the keys are.
    """

    def __init__(self, coordination: Coordination) -> None:
        self._coordination = coordination

    async def deploy(
        self,
        ref: BundleRef,
        selector: Selector | None = None,
        *,
        slot: str = SLOT,
        leadership: Leadership | None = None,
    ) -> Deployment:
        """Want a release on the agents that ``selector`` selects (None: as before, all at first).

        Args:
            ref: The release, from the registry.
            selector: Which agents.
            slot: Which of the agents' models it replaces.
            leadership: Of the controller that decides; None when a person does.

        Raises:
            FencedOut: The leadership is over.
            PeerError: Others keep changing the same deployment.
            StoreUnreachable: Coordination is away.
        """

        def change(before: Deployment | None) -> Deployment:
            return Deployment(
                name=ref.name,
                release=ref.release,
                bundle_id=ref.bundle_id,
                workload=ref.workload,
                slot=slot,
                selector=selector or (before.selector if before else Selector()),
                generation=before.generation + 1 if before else 1,
            )

        return await self._change(ref.name, change, leadership)

    async def withdraw(self, name: str, *, leadership: Leadership | None = None) -> Deployment:
        """Want a model no longer. Agents keep what they run until something else is wanted of them.

        Raises:
            ModelMissing: It was never deployed.
        """

        def change(before: Deployment | None) -> Deployment:
            if before is None:
                raise ModelMissing(f"model {name!r} was never deployed")
            return before.model_copy(update={"withdrawn": True, "generation": before.generation + 1})

        return await self._change(name, change, leadership)

    async def _change(self, name: str, change: _Change, leadership: Leadership | None) -> Deployment:
        key = DESIRED_PREFIX + name
        for _ in range(_TRIES):
            held = await self._coordination.get(key)
            wanted = change(Deployment.from_bytes(key, held.value, held.revision) if held else None)
            if leadership is not None:
                # Fenced, not compared: the leader is the only controller, and a person's change meanwhile is older news.
                revision = await self._coordination.put_fenced(key, wanted.to_bytes(), leadership)
                return wanted.model_copy(update={"revision": revision})
            expected = held.revision if held else 0
            if await self._coordination.compare_and_put(key, wanted.to_bytes(), expected_revision=expected):
                written = await self._coordination.get(key)
                return wanted.model_copy(update={"revision": written.revision if written else 0})
        raise PeerError(f"deployment of {name!r} is being changed by others all the time", hint="try again")

    async def list(self) -> Sequence[Deployment]:
        """Return all deployments, withdrawn ones too, ordered by name."""
        entries, _ = await self._coordination.list(DESIRED_PREFIX)
        return [Deployment.from_bytes(entry.key, entry.value, entry.revision) for entry in entries]

    async def resolve(self, agent: AgentFacts) -> Desired:
        """Return what an agent shall run now."""
        return resolve(await self.list(), agent)

    async def follow(self) -> AsyncGenerator[Sequence[Deployment]]:
        """Yield all deployments now and after every change; wrap it in ``contextlib.aclosing``."""
        async with aclosing(follow(self._coordination, DESIRED_PREFIX)) as states:
            async for state in states:
                yield _parse(state)


def _parse(state: Mapping[str, KeyValue]) -> Sequence[Deployment]:
    found: list[Deployment] = []
    for entry in state.values():
        try:
            found.append(Deployment.from_bytes(entry.key, entry.value, entry.revision))
        except WorldError as error:
            # One record that can't be read must not freeze the desired state of all other models.
            _log.warning("%s: passed over", error.message)
    return found
