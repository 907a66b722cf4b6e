"""Ground truth for captures: a CSV file of rules that say which flows are attacks.

Columns: ``src,dst,proto,sport,dport,start_us,end_us,label,attack``, in any order, ``label`` required. An empty field matches everything;
``src`` and ``dst`` are addresses or networks (``10.77.0.0/24``); ``start_us`` and ``end_us`` bound when the flow began, in microseconds
since 1970. A rule holds for both directions, because who opened a conversation can't always be told. The first rule that matches
decides; a flow that none matches stays without a label. So a last rule of nothing but ``benign`` labels the rest.

    src,dst,proto,dport,label,attack
    10.77.0.2,10.77.0.1,tcp,21,attack,ftp-bruteforce
    ,,,,benign,
"""

from __future__ import annotations

import csv
import ipaddress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

from nervure_core.errors import InputError
from nervure_edge.network.capture import LineSource, Source
from nervure_edge.network.capture.block import LATEST_US
from nervure_edge.network.flow import ATTACK, BENIGN, Flow

_COLUMNS: Final = frozenset({"src", "dst", "proto", "sport", "dport", "start_us", "end_us", "label", "attack"})
_MOST_RULES: Final = 10_000

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BadLabels(InputError):
    """A file of label rules can't be understood."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(
            f"{path}, line {line}: {reason}", hint="columns: src,dst,proto,sport,dport,start_us,end_us,label,attack"
        )
        self.path = path
        self.line = line


@dataclass(frozen=True, slots=True)
class _Rule:
    src: _Network | None
    dst: _Network | None
    proto: str
    sport: int
    dport: int
    start_us: int
    end_us: int
    label: str
    attack: str

    def matches(self, flow: Flow) -> bool:
        if self.proto not in ("", flow.proto) or not self.start_us <= flow.start_us < self.end_us:
            return False
        return self._matches_ends(flow.src, flow.dst, flow.sport, flow.dport) or self._matches_ends(
            flow.dst, flow.src, flow.dport, flow.sport
        )

    def _matches_ends(self, src: str, dst: str, sport: int, dport: int) -> bool:
        return (
            self.sport in (-1, sport)
            and self.dport in (-1, dport)
            and (self.src is None or _inside(src, self.src))
            and (self.dst is None or _inside(dst, self.dst))
        )


class LabelRules:
    """Rules read from a file.

    Raises:
        UnreadableFile: If the file can't be opened.
        BadLabels: If a line is not a rule.
    """

    def __init__(self, path: Path) -> None:
        rules: list[_Rule] = []
        columns: list[str] = []
        number = 0
        with Source(path) as source:
            for number, line in enumerate(LineSource(source), start=1):
                if not line.strip() or line.startswith("#"):
                    continue
                try:
                    words = [word.strip() for word in next(csv.reader((line,)))]
                    if not columns:
                        columns = _checked_columns(words)
                    elif len(rules) == _MOST_RULES:
                        raise ValueError(f"more than {_MOST_RULES} rules")
                    else:
                        rules.append(_rule(dict(zip(columns, words, strict=True))))
                except (ValueError, csv.Error) as error:
                    raise BadLabels(path, number, str(error)) from error
        if not rules:
            raise BadLabels(path, number, "there are no rules")
        self._rules = tuple(rules)

    @classmethod
    def read(cls, path: Path | None) -> Self | None:
        """Return the rules of a file, None where there is no file."""
        return None if path is None else cls(path)

    def label(self, flow: Flow) -> Flow:
        """Return the flow with the label of the first rule that matches; unchanged where none does."""
        for rule in self._rules:
            if rule.matches(flow):
                return replace(flow, label=rule.label, attack=rule.attack)
        return flow


def _checked_columns(words: list[str]) -> list[str]:
    unknown = sorted(set(words) - _COLUMNS)
    if unknown:
        raise ValueError(f"there is no column {unknown[0]!r}")
    if "label" not in words:
        raise ValueError("the column 'label' is missing")
    return words


def _rule(values: dict[str, str]) -> _Rule:
    label = values["label"]
    if label not in (BENIGN, ATTACK):
        raise ValueError(f"label {label!r} is neither {BENIGN!r} nor {ATTACK!r}")
    return _Rule(
        src=_network(values.get("src", "")),
        dst=_network(values.get("dst", "")),
        proto=values.get("proto", "").lower(),
        sport=int(values.get("sport") or -1),
        dport=int(values.get("dport") or -1),
        start_us=int(values.get("start_us") or 0),
        end_us=int(values.get("end_us") or LATEST_US),
        label=label,
        attack=values.get("attack", "") if label == ATTACK else "",
    )


def _network(text: str) -> _Network | None:
    return ipaddress.ip_network(text, strict=False) if text else None


@lru_cache(maxsize=4096)
def _inside(address: str, network: _Network) -> bool:
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:  # a record may name a host instead
        return False
