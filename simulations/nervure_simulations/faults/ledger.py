"""What the agents made, and whether all of it is where it was promised to be.

The promise, as the checks read it:
- An event that ``append`` kept and a sync covered (**durable**) is stored once, is still spooled, or is named in a
  ``Lost`` that a hub has stored, whatever fails later.
- An event that no sync covered may die with its process. Then it died whole: it was never sent, nothing is stored of
  it, and its number may be given to another event.
- An event that ``append`` did not keep has a number as well, and a ``Lost`` that names it.
- A number stands for one event: what is stored under (agent, stream, sequence) is the event that was made with it.
- Nothing is counted on both sides: an event that is stored is in no ``Lost``.

>>> book = Book("agent-0", violation=print)
>>> book.appended(b"s" * 16, first=0, texts=["a", "b"], kept=True)
>>> book.check_stored({(b"s" * 16, 0): "a"}, losses=SeqRanges(), stream=b"s" * 16)
agent-0: 1 events are gone: [(1, 2)]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from nervure_hub.lake.ranges import SeqRanges


@dataclass(slots=True)
class _Stream:
    made: dict[int, tuple[str, bool]] = field(default_factory=dict[int, tuple[str, bool]])
    """Sequence → (the event's text, whether it was kept)."""
    next_seq: int = 0
    sent_upto: int = 0
    promised_upto: int = 0
    """Durable when its process last died."""
    acknowledged_upto: int = 0


class Book:
    """The events of one agent.

    Args:
        agent: Its name.
        violation: Is told what is wrong.
    """

    def __init__(self, agent: str, violation: Callable[[str], None]) -> None:
        self._agent = agent
        self._violation = violation
        self._streams: dict[bytes, _Stream] = {}
        self.made = self.died = self.refused = 0

    def _wrong(self, what: str) -> None:
        self._violation(f"{self._agent}: {what}")

    def _of(self, stream: bytes) -> _Stream:
        return self._streams.setdefault(stream, _Stream())

    def appended(self, stream: bytes, *, first: int, texts: Iterable[str], kept: bool) -> None:
        """Note events that were numbered from ``first`` on."""
        known = self._of(stream)
        if first != known.next_seq:
            self._wrong(f"numbers went from {known.next_seq} to {first}")
        for seq, text in enumerate(texts, first):
            known.made[seq] = (text, kept)
            known.next_seq = seq + 1
            self.made += 1
            self.refused += not kept

    def numbered(self, stream: bytes, next_seq: int) -> None:
        """Check where the numbers stand."""
        if next_seq != self._of(stream).next_seq:
            self._wrong(f"the spool goes on at {next_seq}, {self._of(stream).next_seq} is due")

    def sent(self, stream: bytes, end_seq: int, durable_seq: int) -> None:
        """Note that numbers below ``end_seq`` left for a hub."""
        known = self._of(stream)
        known.sent_upto = max(known.sent_upto, end_seq)
        if end_seq > durable_seq:
            self._wrong(f"sent up to {end_seq} while only {durable_seq} is durable")

    def acknowledged(self, stream: bytes, upto: int) -> None:
        """Note what the spool believes to be durable at a hub."""
        known = self._of(stream)
        known.acknowledged_upto = max(known.acknowledged_upto, upto)
        if upto > known.sent_upto:
            self._wrong(f"acknowledged up to {upto}, sent up to {known.sent_upto}")

    def crashed(self, stream: bytes, durable_seq: int) -> None:
        """Note what was durable when the process died."""
        self._of(stream).promised_upto = durable_seq

    def restarted(self, stream: bytes, next_seq: int) -> None:
        """Note where a new process begins: what was made beyond has died with the old one."""
        known = self._of(stream)
        if self._streams and len(self._streams) > 1:
            self._wrong("the spool has a new stream though nobody wiped it")
        if next_seq < known.promised_upto:
            self._wrong(f"goes on at {next_seq}, but {known.promised_upto} was durable")
        if next_seq < known.sent_upto:
            self._wrong(f"goes on at {next_seq}, but numbers up to {known.sent_upto} were sent")
        if next_seq > known.next_seq:
            self._wrong(f"goes on at {next_seq}, but only {known.next_seq} numbers were given")
        for seq in range(next_seq, known.next_seq):
            known.made.pop(seq, None)
            self.died += 1
        known.next_seq = next_seq

    def check(self, stored: Mapping[tuple[bytes, int], str], losses: Mapping[bytes, SeqRanges]) -> None:
        """Compare with what all lakes hold together, when everything has come to rest."""
        for stream in self._streams:
            self.check_stored(stored, losses=losses.get(stream, SeqRanges()), stream=stream)

    def check_stored(self, stored: Mapping[tuple[bytes, int], str], *, losses: SeqRanges, stream: bytes) -> None:
        """Compare one stream."""
        known = self._of(stream)
        gone, twice, unnamed = SeqRanges(), SeqRanges(), SeqRanges()
        for seq, (text, kept) in known.made.items():
            found = stored.get((stream, seq))
            if found is not None and found != text:
                self._wrong(f"number {seq} stands for {text!r} and is stored as {found!r}")
            if found is None and seq not in losses:
                (gone if kept else unnamed).add(seq, seq + 1)
            if found is not None and seq in losses:
                twice.add(seq, seq + 1)
        for what, which in (
            ("are gone", gone),
            ("were dropped and are in no Lost", unnamed),
            ("are stored and named in a Lost", twice),
        ):
            if len(which):
                self._wrong(f"{len(which)} events {what}: {which.ranges()}")
        ghosts = [seq for of, seq in stored if of == stream and seq not in known.made]
        if ghosts:
            self._wrong(f"stored under numbers that were never given: {ghosts[:8]}")
