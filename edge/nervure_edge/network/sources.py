"""Where the workload's flows come from: a capture, a file of records, an interface, all pulled in the same way.

Rules: `FlowSource.read` returns soon (one block of packets, one bounded wait), ``[]`` where nothing came and None when the source has
ended; a source that ended early says why in ``problem`` and counts it as ``truncated``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from nervure_edge.network.capture import Block, open_capture
from nervure_edge.network.flow import Flow
from nervure_edge.network.live import LiveCapture
from nervure_edge.network.meter import FlowMeter, MeterSettings
from nervure_edge.network.records import open_records

_LIVE_PACKETS: Final = 4096


class FlowSource(Protocol):
    """What gives flows in the order in which they end."""

    @property
    def problem(self) -> str:
        """Why the source ended before it should have; empty where all is well."""
        ...

    def read(self, limit: int, timeout_s: float) -> list[Flow] | None:
        """Return flows that ended, None when there will be none any more.

        Args:
            limit: About how many are wanted; a source may return more if it has them at hand.
            timeout_s: Longest wait.
        """
        ...

    def stats(self) -> dict[str, int]:
        """Return counters by name."""
        ...

    def close(self) -> None:
        """Let go of the source; may be called again."""
        ...


class CaptureSource:
    """Flows metered from a capture file.

    Raises:
        InputError: If the file is no capture.
    """

    def __init__(self, path: Path, settings: MeterSettings) -> None:
        self._capture = open_capture(path)
        self._blocks: Iterator[Block] = self._capture.blocks()
        self._meter = FlowMeter(settings)
        self._over = False

    @property
    def problem(self) -> str:
        return _early(self._capture.path, self._capture.problem)

    def read(self, limit: int, timeout_s: float) -> list[Flow] | None:
        if self._over:
            return None
        block = next(self._blocks, None)
        if block is not None:
            self._meter.feed(block)
        else:
            self._over = True
            self._meter.flush()
        return self._meter.ended()

    def stats(self) -> dict[str, int]:
        return {
            **self._meter.counts.as_dict(),
            "skipped": self._capture.skipped,
            "truncated": int(bool(self._capture.problem)),
        }

    def close(self) -> None:
        self._capture.close()


class RecordSource:
    """Flows from the log of another tool or a flow table.

    Args:
        path: The file.
        site: Only flows of this site; empty for all.

    Raises:
        InputError: If the file holds no flow records.
    """

    def __init__(self, path: Path, site: str = "") -> None:
        self._records = open_records(path)
        self._flows = (flow for flow in self._records if not site or flow.site == site)

    @property
    def problem(self) -> str:
        return _early(self._records.path, self._records.problem)

    def read(self, limit: int, timeout_s: float) -> list[Flow] | None:
        return list(islice(self._flows, limit)) or None

    def stats(self) -> dict[str, int]:
        records = self._records
        return {
            "flows": records.flows,
            "skipped": records.skipped,
            "ignored": records.ignored,
            "truncated": int(bool(records.problem)),
        }

    def close(self) -> None:
        self._records.close()


class LiveSource:
    """Flows metered from an interface; never ends by itself.

    Raises:
        ConfigurationError, WorldError: If the interface can't be captured.
    """

    def __init__(self, interface: str, settings: MeterSettings) -> None:
        self._capture = LiveCapture(interface)
        self._meter = FlowMeter(settings)

    @property
    def problem(self) -> str:
        return ""

    def read(self, limit: int, timeout_s: float) -> list[Flow] | None:
        block = self._capture.poll(_LIVE_PACKETS, timeout_s)
        if block is not None:
            self._meter.feed(block)
        else:
            self._meter.advance(time.time_ns() // 1000)
        return self._meter.ended()

    def stats(self) -> dict[str, int]:
        return {**self._meter.counts.as_dict(), "dropped": self._capture.dropped}

    def close(self) -> None:
        self._capture.close()


def _early(path: Path, problem: str) -> str:
    return f"{path} ends early: {problem}" if problem else ""
