"""Zeek's conn.log: the tab-separated form, the JSON form, and the CSV form in which labelled captures such as IoT-23 are shared.

All three carry the same columns (Zeek, ``base/protocols/conn``). Bytes are taken from ``orig_ip_bytes`` and ``resp_ip_bytes``, which
count what our meter counts; a log without them gives payload bytes instead. IoT-23 appends ``label`` and ``detailed-label``; its
original files separate these from the last column by spaces instead of a tab.

Cite for IoT-23: Garcia, Parmisano, Erquiaga, *IoT-23: A labeled dataset with malicious and benign IoT network traffic*, 2020,
doi 10.5281/zenodo.4743746.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from nervure_edge.network.flow import Flow
from nervure_edge.network.records.row import count, ground_truth, make_flow, micros

REQUIRED: Final = (
    "ts",
    "id.orig_h",
    "id.orig_p",
    "id.resp_h",
    "id.resp_p",
    "proto",
    "conn_state",
    "orig_pkts",
    "resp_pkts",
)

_SPACES: Final = re.compile(r"\s{2,}")


def flow_of(values: Mapping[str, Any]) -> Flow:
    """Make a flow of the values of one row by column name."""
    label, attack = ground_truth(str(values.get("label") or ""), str(values.get("detailed-label") or ""))
    return make_flow(
        start_us=micros(values["ts"]),
        dur_us=micros(values.get("duration")),
        src=str(values["id.orig_h"]),
        dst=str(values["id.resp_h"]),
        sport=int(values["id.orig_p"]),
        dport=int(values["id.resp_p"]),
        proto=str(values["proto"]),
        service=str(values.get("service") or ""),
        state=str(values.get("conn_state") or ""),
        spkts=count(values["orig_pkts"]),
        dpkts=count(values["resp_pkts"]),
        sbytes=count(values.get("orig_ip_bytes") or values.get("orig_bytes")),
        dbytes=count(values.get("resp_ip_bytes") or values.get("resp_bytes")),
        label=label,
        attack=attack,
    )


class ZeekJson:
    """One JSON object per line."""

    def row(self, line: str) -> Flow | None:
        if not line.strip():
            return None
        values = json.loads(line)
        if not isinstance(values, dict):
            raise TypeError("a row is no object")
        return flow_of(values)


class ZeekCsv:
    """Comma-separated with a header of Zeek's column names.

    Args:
        header: The first line of the file.
    """

    def __init__(self, header: str) -> None:
        self._columns = header.split(",")

    def row(self, line: str) -> Flow | None:
        if not line or line.startswith("ts,uid,"):  # concatenated files repeat the header
            return None
        words = next(csv.reader((line,))) if '"' in line else line.split(",")
        if len(words) != len(self._columns):
            raise ValueError("a row has too few or too many columns")
        return flow_of(dict(zip(self._columns, words, strict=True)))


class ZeekTsv:
    """Zeek's own form: directives that start with ``#``, then rows.

    Columns may change within a file (concatenated logs), so every ``#fields`` is obeyed.

    Args:
        columns: Words of the first ``#fields`` directive.
    """

    def __init__(self, columns: list[str]) -> None:
        self._columns = columns

    def row(self, line: str) -> Flow | None:
        if line.startswith("#"):
            if line.startswith("#fields\t"):
                self._columns = columns_of(line)
            return None
        if not line:
            return None
        words = _split(line)
        if len(words) != len(self._columns):
            raise ValueError("a row has too few or too many columns")
        return flow_of(dict(zip(self._columns, words, strict=True)))


def columns_of(line: str) -> list[str]:
    """Return the column names of a ``#fields`` directive."""
    return _split(line)[1:]


def _split(line: str) -> list[str]:
    *words, last = line.split("\t")
    return [*words, *_SPACES.split(last)]
