"""What may be in flight: byte credits of the hub, and the cursor over the spool. Pure bookkeeping.

Rules:
- A session starts at the first sequence number that is not durable: the later of what this hub and what this agent
  knows to be acknowledged.
- A batch leaves only when credit is left; it may overdraw the credit once, so that a batch larger than the credit
  cannot stop the stream for ever.
- An acknowledgement never moves backwards, and never beyond what was sent: a hub that says so is wrong, and its word is
  cut to what was sent (``acknowledged`` returns the believed watermark).

>>> window = Window(start_seq=10, credit_bytes=100)
>>> window.sent(first_seq=10, count=5, size_bytes=80), window.may_send
(None, True)
>>> window.acknowledged(99)
15
"""

from __future__ import annotations


class Window:
    """Credit and cursor of one session.

    Args:
        start_seq: The first sequence number to send.
        credit_bytes: Payload bytes that may be sent before the first Credit.
    """

    __slots__ = ("acknowledged_seq", "credit_bytes", "next_seq")

    def __init__(self, start_seq: int, credit_bytes: int) -> None:
        self.next_seq = start_seq
        """The first sequence number that was not sent yet."""
        self.acknowledged_seq = start_seq
        """Every sequence number below is durable at the hub."""
        self.credit_bytes = credit_bytes
        """Payload bytes that may still be sent; negative after an overdraft."""

    @property
    def may_send(self) -> bool:
        """Whether another batch may leave."""
        return self.credit_bytes > 0

    @property
    def in_flight(self) -> int:
        """Events sent and not acknowledged."""
        return self.next_seq - self.acknowledged_seq

    def sent(self, first_seq: int, count: int, size_bytes: int) -> None:
        """Record a batch, or with ``size_bytes`` 0 a reported loss, that left."""
        self.next_seq = first_seq + count
        self.credit_bytes -= size_bytes

    def credited(self, more_bytes: int) -> None:
        """Record more credit."""
        self.credit_bytes += more_bytes

    def acknowledged(self, durable_up_to: int) -> int:
        """Record an acknowledgement and return the believed watermark."""
        self.acknowledged_seq = max(self.acknowledged_seq, min(durable_up_to, self.next_seq))
        return self.acknowledged_seq

    def __repr__(self) -> str:
        return f"<Window next {self.next_seq}, {self.in_flight} in flight, credit {self.credit_bytes} bytes>"
