"""Flows that another tool has measured: logs of Zeek, Suricata and Argus, and our own tables, behind one interface.

Rules:

- What a file is, is told from its first lines, never from its name; it may be packed by gzip.
- A file that is none of them is one `NotRecords` before any row is read, and says what was found.
- A row that is damaged is counted in ``skipped`` and passed over; a line that is no flow (a comment, an event of another kind) is
  passed over and counted in ``ignored``.
- Rows come in the order of the file, which all of these tools write in the order in which flows ended.

>>> with open_records(Path("conn.log")) as records:      # doctest: +SKIP
...     for flow in records:
...         print(flow.subject, flow.label)
...     print(records.format, records.skipped)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from nervure_core.errors import InputError
from nervure_edge.network.capture import LineSource, Source
from nervure_edge.network.flow import Flow
from nervure_edge.network.records import argus, flow_table, zeek
from nervure_edge.network.records.argus import ArgusTable
from nervure_edge.network.records.flow_table import FlowTable
from nervure_edge.network.records.row import DAMAGED, RowReader
from nervure_edge.network.records.suricata import SuricataEve
from nervure_edge.network.records.zeek import ZeekCsv, ZeekJson, ZeekTsv

__all__ = ["NotRecords", "RecordFile", "open_records", "site_of"]

_LINES_LOOKED_AT: Final = 32


class NotRecords(InputError):
    """A file holds no flow records of a known form."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path}: no flow records ({reason})",
            hint="give a Zeek conn.log (TSV, JSON or CSV), a Suricata EVE log, an Argus binetflow or a flows.v1 table",
        )
        self.path = path


class RecordFile:
    """An opened file of flow records; use `open_records`."""

    def __init__(self, source: Source, lines: LineSource, ahead: Iterator[str], reader: RowReader, form: str) -> None:
        self._source = source
        self._lines = lines
        self._ahead = ahead
        self._reader = reader
        self.format = form
        """``zeek-tsv``, ``zeek-json``, ``zeek-csv``, ``suricata-eve``, ``argus`` or ``flows.v1``."""
        self.site = site_of(source.path)
        """Name given to flows that name no site of their own."""
        self.flows = 0
        self.ignored = 0
        self._damaged = 0

    @property
    def path(self) -> Path:
        """The file."""
        return self._source.path

    @property
    def skipped(self) -> int:
        """Rows that were damaged or too long."""
        return self._damaged + self._lines.dropped

    @property
    def problem(self) -> str:
        """Why the rows ended before the file should have; empty where all is well."""
        return self._source.problem

    def __iter__(self) -> Iterator[Flow]:
        """Yield all flows; can be walked once."""
        read, site = self._reader.row, self.site
        for line in self._ahead:
            try:
                flow = read(line)
            except DAMAGED:
                self._damaged += 1
                continue
            if flow is None:
                self.ignored += 1
                continue
            self.flows += 1
            yield flow if flow.site else replace(flow, site=site)

    def close(self) -> None:
        """Close the file; may be called again."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_records(path: Path) -> RecordFile:
    """Open a file of flow records and find out its form.

    Raises:
        UnreadableFile: If it can't be opened.
        NotRecords: If it is something else.
    """
    source = Source(path)
    try:
        lines = LineSource(source)
        rest = iter(lines)
        first = list(islice(rest, _LINES_LOOKED_AT))
        reader, form = _recognise(path, first)
        return RecordFile(source, lines, chain(first, rest), reader, form)
    except InputError:
        source.close()
        raise


def site_of(path: Path) -> str:
    """Return the name of the site that a file stands for: its own, without endings."""
    return path.name.split(".")[0].removesuffix("-labeled")


def _recognise(path: Path, lines: list[str]) -> tuple[RowReader, str]:
    filled = [line.removeprefix("\ufeff") for line in lines if line.strip()]
    if not filled:
        raise NotRecords(path, "it is empty")
    head = filled[0]
    if head == flow_table.HEADER:
        return FlowTable(), flow_table.SCHEMA
    if head.startswith("ts,uid,"):
        _check_columns(path, head.split(","), zeek.REQUIRED)
        return ZeekCsv(head), "zeek-csv"
    if head.startswith(("StartTime,", "StartTime\t")):
        _check_columns(path, head.split(argus.separator_of(head)), argus.REQUIRED)
        return ArgusTable(head), "argus"
    if head.startswith("#"):
        fields = next((line for line in filled if line.startswith("#fields\t")), None)
        if fields is not None:
            columns = zeek.columns_of(fields)
            _check_columns(path, columns, zeek.REQUIRED)
            return ZeekTsv(columns), "zeek-tsv"
    elif head.lstrip().startswith("{"):
        return _recognise_json(path, filled)
    raise NotRecords(path, f"first line {_shown(head)}")


def _recognise_json(path: Path, lines: list[str]) -> tuple[RowReader, str]:
    for line in lines:
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            if "event_type" in values:
                return SuricataEve(), "suricata-eve"
            if all(column in values for column in zeek.REQUIRED):
                return ZeekJson(), "zeek-json"
    raise NotRecords(path, "JSON lines that are neither a Zeek conn.log nor a Suricata EVE log")


def _check_columns(path: Path, columns: list[str], required: tuple[str, ...]) -> None:
    missing = [column for column in required if column not in columns]
    if missing:
        raise NotRecords(path, f"the column {missing[0]} is missing")


def _shown(line: str) -> str:
    return ascii(line[:40]) + ("…" if len(line) > 40 else "")
