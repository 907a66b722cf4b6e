"""Puts the parts of large orders together again. Pure bookkeeping.

Rules: parts come in order after their order, those of several orders may be mixed; at most ``MAX_OPEN`` orders are open
at a time, all of them together at most the size of one largest content; what breaks that is a malformed frame and ends
the session, because the hub broke the contract.

>>> Assembler().order(TaskOrder("t", "r", TaskKind.QUERY, 0, 1.0)).task_id
't'
"""

from __future__ import annotations

from dataclasses import replace

from nervure_core.codec import MalformedFrame, join_parts
from nervure_core.messages import TaskKind, TaskOrder, TaskPart
from nervure_core.tensors import MAX_CONTENT_BYTES

__all__ = ["Assembler", "TaskKind"]

MAX_OPEN = 4


class Assembler:
    """Orders that wait for their parts."""

    __slots__ = ("_bytes", "_open")

    def __init__(self) -> None:
        self._open: dict[str, tuple[TaskOrder, list[TaskPart]]] = {}
        self._bytes = 0

    def order(self, order: TaskOrder) -> TaskOrder | None:
        """Take an order; return it when it is whole already.

        Raises:
            MalformedFrame: Too many orders are open.
        """
        if not order.parts:
            return order
        if len(self._open) >= MAX_OPEN and order.task_id not in self._open:
            raise MalformedFrame(f"order {order.task_id}: {MAX_OPEN} other orders wait for their parts")
        self._discard(order.task_id)
        self._open[order.task_id] = (order, [])
        return None

    def part(self, part: TaskPart) -> TaskOrder | None:
        """Take a part; return the whole order when it was the last one.

        Raises:
            MalformedFrame: It belongs to no open order, is out of order, or makes the content too large.
        """
        if part.task_id not in self._open:
            raise MalformedFrame(f"part {part.index} of task {part.task_id}, which is not open")
        order, parts = self._open[part.task_id]
        parts.append(part)
        self._bytes += len(part.data)
        if part.index != len(parts) - 1 or self._bytes > MAX_CONTENT_BYTES:
            raise MalformedFrame(f"part {part.index} of task {part.task_id} is out of order or too much")
        if len(parts) < order.parts:
            return None
        self._discard(part.task_id)
        return replace(order, content=join_parts(parts, order.parts), parts=0)

    def _discard(self, task_id: str) -> None:
        _, parts = self._open.pop(task_id, (None, ()))
        self._bytes -= sum(len(part.data) for part in parts)
