"""Open orders of one gateway: which agents owe an answer to whom.

Rules: an order is answered exactly once, by the agent's result, by the end of its session or by being forgotten
(then nobody listens); results to no open order are counted and dropped; a result in parts is put together here, within
``max_bytes``.

>>> answers = []
>>> desk = TaskDesk(max_bytes=1 << 20)
>>> desk.open("camera-7", "t1", answers.append)
>>> desk.result("camera-7", TaskResult("t1", "run", 1, ok=True, content=b"x"))
>>> answers[0].ok, desk.open_orders
(True, 0)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nervure_core.codec import MalformedFrame, join_parts, split_content
from nervure_core.messages import HubMessage, TaskOrder, TaskPart, TaskResult
from nervure_hub.context import TaskReply

Answer = Callable[[TaskReply], None]


@dataclass(slots=True)
class _Assembly:
    result: TaskResult
    parts: list[TaskPart] = field(default_factory=list[TaskPart])
    size_bytes: int = 0


def order_frames(order: TaskOrder) -> list[HubMessage]:
    """Return the frames that carry an order."""
    parts = split_content(order.task_id, order.content)
    if not parts:
        return [order]
    return [replace(order, content=b"", parts=len(parts)), *parts]


class TaskDesk:
    """Orders waiting for results.

    Args:
        max_bytes: Largest content of a result.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._open: dict[tuple[str, str], Answer] = {}
        self._assemblies: dict[tuple[str, str], _Assembly] = {}
        self.unexpected = 0
        """Results to no open order: late, or made up."""

    @property
    def open_orders(self) -> int:
        """How many orders wait."""
        return len(self._open)

    def open(self, agent_id: str, task_id: str, answer: Answer) -> None:
        """Wait for an agent's result.

        Raises:
            ValueError: The agent has this order already.
        """
        if (agent_id, task_id) in self._open:
            raise ValueError(f"agent {agent_id} has order {task_id} already")
        self._open[agent_id, task_id] = answer

    def result(self, agent_id: str, result: TaskResult) -> None:
        """Take a result, or the head of one in parts."""
        key = (agent_id, result.task_id)
        if key not in self._open:
            self.unexpected += 1
            return
        if result.parts:
            self._assemblies[key] = _Assembly(result)
        else:
            self._answer(key, ok=result.ok, error=result.error, content=result.content)

    def part(self, agent_id: str, part: TaskPart) -> None:
        """Take one part of a result.

        Raises:
            MalformedFrame: Parts are missing or out of order, or the whole is larger than allowed.
        """
        key = (agent_id, part.task_id)
        assembly = self._assemblies.get(key)
        if assembly is None:
            self.unexpected += 1
            return
        assembly.parts.append(part)
        assembly.size_bytes += len(part.data)
        if assembly.size_bytes > self._max_bytes:
            raise MalformedFrame(f"result of task {part.task_id} is larger than {self._max_bytes} bytes")
        if len(assembly.parts) == assembly.result.parts:
            content = join_parts(assembly.parts, assembly.result.parts)
            self._answer(key, ok=assembly.result.ok, error=assembly.result.error, content=content)

    def gone(self, agent_id: str, reason: str) -> None:
        """Answer for an agent whose session is over."""
        for key in [key for key in self._open if key[0] == agent_id]:
            self._answer(key, ok=False, error=reason, content=b"")

    def forget(self, agent_id: str, task_id: str) -> None:
        """Stop waiting; nobody is told. Safe for an order that is answered already."""
        self._open.pop((agent_id, task_id), None)
        self._assemblies.pop((agent_id, task_id), None)

    def _answer(self, key: tuple[str, str], *, ok: bool, error: str, content: bytes) -> None:
        answer = self._open.pop(key)
        self._assemblies.pop(key, None)
        if not ok and not error:
            error = "the agent gave no reason"
        answer(TaskReply(key[0], key[1], ok, error, content if ok else b""))
