"""Our own table of flows, ``flows.v1``: a CSV file, packed by gzip where its name ends in ``.gz``.

Rules: the header is exact; rows stand in the order in which the flows *ended*, because the last-100-connection features walk them in
that order; the same flows give the same bytes (no time in the gzip header), so that a table can be named by its hash; a table appears
under its name only when it is whole.

>>> write_table(Path("site.csv.gz"), flows)      # doctest: +SKIP
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from operator import attrgetter
from pathlib import Path
from typing import Final

from nervure_core.errors import InputError, WorldError
from nervure_edge.network.capture import LineSource, Source
from nervure_edge.network.flow import ATTACK, BENIGN, Flow
from nervure_edge.network.records.row import DAMAGED, make_flow

SCHEMA: Final = "flows.v1"
COLUMNS: Final = (
    "start_us",
    "dur_us",
    "src",
    "dst",
    "sport",
    "dport",
    "proto",
    "service",
    "state",
    "spkts",
    "dpkts",
    "sbytes",
    "dbytes",
    "label",
    "attack",
    "site",
)
HEADER: Final = ",".join(COLUMNS)


class NotAFlowTable(InputError):
    """A file has not the header of a ``flows.v1`` table."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: not a flows.v1 table", hint=f"its first line must be: {HEADER}")
        self.path = path


_values = attrgetter(*COLUMNS)


def in_order_of_end(flows: Iterable[Flow]) -> list[Flow]:
    """Sort flows by when they ended, as a table wants them; those of the same moment keep their order."""
    return sorted(flows, key=lambda flow: flow.end_us)


def write_table(path: Path, flows: Iterable[Flow]) -> int:
    """Write flows to a table, and return how many they were.

    Args:
        path: The file to make; packed by gzip where the name ends in ``.gz``.
        flows: The flows in the order in which they ended.

    Raises:
        WorldError: If the file can't be written; what was there before is left as it was.
    """
    part = path.with_name(path.name + ".part")
    written = 0
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(part.open("wb"))
            packed = (
                stack.enter_context(gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0))
                if path.suffix == ".gz"
                else raw
            )
            text = stack.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline="", write_through=False))
            table = csv.writer(text, lineterminator="\n")
            table.writerow(COLUMNS)
            for flow in flows:
                table.writerow(_values(flow))
                written += 1
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WorldError(f"{path}: cannot write the table ({error.strerror or error})") from error
    return written


class FlowTable:
    """Reads the rows of a ``flows.v1`` table."""

    def row(self, line: str) -> Flow | None:
        if not line or line == HEADER:
            return None
        words = next(csv.reader((line,))) if '"' in line else line.split(",")
        start, dur, src, dst, sport, dport, proto, service, state, spkts, dpkts, sbytes, dbytes, label, attack, site = (
            words
        )
        if label not in ("", BENIGN, ATTACK):
            raise ValueError("a label is neither benign nor attack")
        return make_flow(
            start_us=int(start),
            dur_us=int(dur),
            src=src,
            dst=dst,
            sport=int(sport),
            dport=int(dport),
            proto=proto,
            service=service,
            state=state,
            spkts=int(spkts),
            dpkts=int(dpkts),
            sbytes=int(sbytes),
            dbytes=int(dbytes),
            label=label,
            attack=attack,
            site=site,
        )


def read_table(path: Path) -> Iterator[Flow]:
    """Yield the flows of a ``flows.v1`` table; malformed rows are skipped.

    For counts of what was skipped, or a file of any other format, use `nervure_edge.network.records.open_records`.

    Raises:
        UnreadableFile: If the file can't be opened.
        NotAFlowTable: If its header is another one.
    """
    with Source(path) as source:
        lines = iter(LineSource(source))
        if next(lines, "") != HEADER:
            raise NotAFlowTable(path)
        read = FlowTable().row
        for line in lines:
            flow = None
            with suppress(*DAMAGED):
                flow = read(line)
            if flow is not None:
                yield flow
