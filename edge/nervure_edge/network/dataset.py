"""Flow records as arrays, for training, judging and benchmarks.

Rules: every site has a window of the last hundred connections of its own, as the sensor on that site would; the order of the file is
kept; a flow without a label is -1, so that nobody takes it for benign.

>>> data = load_features(Path("site.csv.gz"))      # doctest: +SKIP
>>> data.x.shape, data.y.mean(), data.sites        # doctest: +SKIP
((1374, 56), 0.0, ('CTU-Honeypot-Capture-5-1', ...))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nervure_edge.network.flow import ATTACK, BENIGN, Flow
from nervure_edge.network.flow_v1 import COLUMNS, FlowFeatures
from nervure_edge.network.records import open_records

_CLASS = {BENIGN: 0, ATTACK: 1}


@dataclass(frozen=True, slots=True)
class FlowData:
    """Features and labels of N flows, row by row in the order of the file."""

    x: npt.NDArray[np.float32]
    """Features of schema flow.v1, shape ``(N, len(COLUMNS))``."""
    y: npt.NDArray[np.int64]
    """0 benign, 1 attack, -1 not labelled; shape ``(N,)``."""
    sites: tuple[str, ...]
    """Site of each row."""
    attacks: tuple[str, ...]
    """Kind of attack of each row, ``""`` where benign or not named."""
    times_us: npt.NDArray[np.int64]
    """When each flow ended, in microseconds since 1970; shape ``(N,)``."""
    skipped: int = 0
    """Malformed rows of the file that were passed over."""

    def of_site(self, site: str) -> FlowData:
        """Return the rows of one site."""
        rows = np.flatnonzero(np.array([name == site for name in self.sites], dtype=bool))
        return self.take(rows)

    def take(self, rows: npt.NDArray[np.intp]) -> FlowData:
        """Return the rows with these numbers, in this order."""
        numbers = rows.tolist()
        return FlowData(
            self.x[rows],
            self.y[rows],
            tuple([self.sites[number] for number in numbers]),
            tuple([self.attacks[number] for number in numbers]),
            self.times_us[rows],
        )


def features_of(flows: Iterable[Flow], *, skipped: int = 0) -> FlowData:
    """Return features and labels of flows that come in the order in which they ended."""
    windows: dict[str, FlowFeatures] = {}
    kept = list(flows)
    x = np.zeros((len(kept), len(COLUMNS)), dtype=np.float32)
    for row, flow in zip(x, kept, strict=True):
        features = windows.get(flow.site)
        if features is None:
            features = windows[flow.site] = FlowFeatures()
        features.fill(row, flow)
    return FlowData(
        x=x,
        y=np.array([_CLASS.get(flow.label, -1) for flow in kept], dtype=np.int64),
        sites=tuple([flow.site for flow in kept]),
        attacks=tuple([flow.attack for flow in kept]),
        times_us=np.array([flow.end_us for flow in kept], dtype=np.int64),
        skipped=skipped,
    )


def load_features(path: Path) -> FlowData:
    """Return features and labels of a file of flow records, whatever its format.

    Raises:
        InputError: If the file can't be read or holds no flow records.
    """
    with open_records(path) as records:
        flows = list(records)
        return features_of(flows, skipped=records.skipped)
