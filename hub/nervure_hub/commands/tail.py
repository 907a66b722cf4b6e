"""Following the event lake by asking again and again, apart from who is asked.

Rules
    1. Gateways stamp events with their own clocks and journals become visible at their own pace, so an event can appear
       behind one that was printed already: every question looks back ``OVERLAP_US`` and what was seen is not repeated.
    2. Pages go by the key (hub_time_us, stream, seq), which is unique, so that no limit cuts an event off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

OVERLAP_US = 5_000_000
PAGE = 1000

_SHOWN = (
    "hub_time_us, stream, seq, region, agent, kind, time_us, workload, subject, label, score, action, model, release, "
    "latency_us, detail"
)
_ORDER = ("hub_time_us", "stream", "seq")
_Key = tuple[int, str, int]

Ask = Callable[[str], Mapping[str, Any]]
"""Answers SQL as the API does: ``{"columns": [...], "rows": [...]}``."""


class Tail:
    """What has been seen, and the next question.

    Args:
        ask: Answers SQL.
        where: Condition of the user, empty for all.
    """

    def __init__(self, ask: Ask, where: str = "") -> None:
        self._ask = ask
        self._where = f"({where})" if where.strip() else "true"
        self._seen: set[_Key] = set()
        self._newest_us = 0

    def start(self, last: int) -> Sequence[dict[str, Any]]:
        """Return the last so many events, oldest first; what comes later is what ``more`` returns."""
        (newest,) = self._rows("SELECT max(hub_time_us) AS newest FROM events")
        self._newest_us = newest["newest"] or 0
        # All that is inside the overlap now counts as seen, printed or not: "tail" starts at the end.
        self._fresh()
        if last == 0:
            return []
        descending = ", ".join(f"{column} DESC" for column in _ORDER)
        found = self._rows(f"SELECT {_SHOWN} FROM events WHERE {self._where} ORDER BY {descending} LIMIT {last}")  # noqa: S608 - the user's own condition, asked with the user's own rights
        return [event for event in reversed(found) if _key(event) in self._seen or event["hub_time_us"] < self._from_us]

    def more(self) -> Sequence[dict[str, Any]]:
        """Return what has come since the last time, oldest first."""
        return self._fresh()

    @property
    def _from_us(self) -> int:
        return self._newest_us - OVERLAP_US

    def _fresh(self) -> list[dict[str, Any]]:
        fresh: list[dict[str, Any]] = []
        cursor: _Key = (self._from_us, "", -1)
        while True:
            page = self._rows(
                f"SELECT {_SHOWN} FROM events WHERE {self._where} "  # noqa: S608 - as above; the rest is ours
                f"AND ({', '.join(_ORDER)}) > ({cursor[0]}, '{cursor[1]}', {cursor[2]}) "
                f"ORDER BY {', '.join(_ORDER)} LIMIT {PAGE}"
            )
            fresh += [event for event in page if _key(event) not in self._seen]
            self._seen.update(map(_key, page))
            if len(page) < PAGE:
                break
            cursor = _key(page[-1])
        if fresh:
            self._newest_us = max(self._newest_us, *(event["hub_time_us"] for event in fresh))
            self._seen = {key for key in self._seen if key[0] >= self._from_us}
        return fresh

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        answer = self._ask(sql)
        return [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]


def _key(event: Mapping[str, Any]) -> _Key:
    return (int(event["hub_time_us"]), str(event["stream"]), int(event["seq"]))
