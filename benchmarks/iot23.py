"""Learning together on IoT-23: nine captures as nine sites, temporal 70/30 inside each, 15 rounds of federated averaging.

Everything but the transport is what a fleet runs: features flow.v1, the starting bundle, ``train.onnx`` in onnxruntime,
the judge with the manifest's threshold. Sites weigh the same, since one of them holds half of all flows; the weights
start random, and the normalisation comes from each site's first 60 flows. Peers: all training flows in one place, and
the mean of sites that learn alone for as many steps. The worst site's false positive rate stands beside the F1, because a
detector that is good on the whole and cries wolf at one site is not good there.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Row
from nervure_core.bundle import TRAIN, Bundle, TrainingSpec
from nervure_core.errors import InputError
from nervure_edge.network.flow_v1 import COLUMNS, SCHEMA
from nervure_federation.judge import Verdict, judge, judge_weights
from nervure_federation.models import Fitter, Purpose, Schedule, heavy_tailed, starting_bundle
from nervure_simulations.sites import heldout_arrays, load_iot23, training_arrays

ROUNDS, SEED, SAMPLE = 15, 0, 60
STEP = Schedule(epochs=1, learning_rate=0.1, batch_size=32)
PURPOSE = Purpose("iot23", ("benign", "attack"), "benign", workload="network", features=SCHEMA, columns=COLUMNS)

Weights = dict[str, NDArray[np.float32]]
Sets = dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]


def data_folder() -> Path:
    """Find the captures: in ``$NERVURE_DATA``, or in ``shared/data`` beside the checkout."""
    root = Path(os.environ.get("NERVURE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not (root / "iot-23").is_dir():
        raise InputError(
            f"{root / 'iot-23'}: no IoT-23 captures", hint="set NERVURE_DATA to the folder that holds iot-23/"
        )
    return root / "iot-23"


def flat(regions: Mapping[str, Sets]) -> Sets:
    """Drop the regions: here every site stands for itself."""
    return {site: arrays for sites in regions.values() for site, arrays in sites.items()}


def pooled(sets: Sets) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Put all sites' rows in one place."""
    return np.concatenate([x for x, _ in sets.values()]), np.concatenate([y for _, y in sets.values()])


def seeded(turn: int, site: int) -> Schedule:
    """Give one site's schedule in one round an order of rows of its own."""
    return Schedule(STEP.epochs, STEP.learning_rate, STEP.batch_size, STEP.mu, SEED + 1000 * turn + site)


def federate(fitter: Fitter, weights: Weights, train: Sets) -> Weights:
    """Run all rounds: every site starts from the same weights, every site counts the same."""
    for turn in range(ROUNDS):
        replies = [fitter.fit(weights, x, y, seeded(turn, site)).weights for site, (x, y) in enumerate(train.values())]
        # Summed in float64 in the order of the sites: the same run twice is bit-equal.
        weights = {
            name: np.asarray(np.mean([reply[name] for reply in replies], axis=0, dtype=np.float64), np.float32)
            for name in weights
        }
    return weights


def alone(fitter: Fitter, bundle: Bundle, weights: Weights, train: Sets, held: Sets) -> list[Verdict]:
    """Let every site learn alone for as many epochs, and judge each on everyone's held-out flows."""
    plan = Schedule(STEP.epochs * ROUNDS, STEP.learning_rate, STEP.batch_size, seed=SEED)
    return [judge_weights(bundle, fitter.fit(weights, x, y, plan).weights, held) for x, y in train.values()]


def run() -> list[Row]:
    """Measure."""
    folder = data_folder()
    captures = sorted(folder.glob("*-labeled.csv.gz"))
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in captures)).hexdigest()
    sites = load_iot23(folder)
    train, held = flat(training_arrays(sites)), flat(heldout_arrays(sites))
    sample = pooled({site: (x[:SAMPLE], y[:SAMPLE]) for site, (x, y) in train.items()})
    with tempfile.TemporaryDirectory() as out:
        bundle = starting_bundle(
            Path(out) / "start",
            *sample,
            PURPOSE,
            heavy=heavy_tailed(COLUMNS),
            schedule=Schedule(epochs=0, seed=SEED),
            training=TrainingSpec(optimizer="sgd"),
        )
        start: Weights = {name: value.astype(np.float32) for name, value in bundle.weights().items()}
        fitter = Fitter(bundle.path(TRAIN))
        began = time.perf_counter()
        together = judge_weights(bundle, federate(fitter, start, train), held)
        spent = time.perf_counter() - began
        whole = fitter.fit(start, *pooled(train), Schedule(ROUNDS, STEP.learning_rate, STEP.batch_size, seed=SEED))
        central = judge_weights(bundle, whole.weights, held)
        single = alone(fitter, bundle, start, train, held)
        untrained = judge(bundle, held)
    note = (
        f"{len(train)} sites, {sum(len(y) for _, y in held.values())} held-out flows, seed {SEED}, data {digest[:12]}"
    )
    steps = ROUNDS * sum(-(-len(y) // STEP.batch_size) for _, y in train.values())
    return [
        Row(
            "iot23.f1",
            together.f1,
            "F1",
            {"central": central.f1, "local only (mean)": fmean(v.f1 for v in single), "untrained": untrained.f1},
            bar=0.98,
            note=note,
        ),
        Row(
            "iot23.worst_site_fpr",
            together.worst_site_fpr,
            "share",
            {"central": central.worst_site_fpr, "local only (mean)": fmean(v.worst_site_fpr for v in single)},
            note=f"worst site {together.worst_site}; all sites {together.fpr:.4f}",
        ),
        Row("iot23.accuracy", together.accuracy, "share", {"central": central.accuracy}),
        Row("iot23.steps_per_s", steps / spent, "1/s", note="train.onnx, 56-32-16-2, batch 32, one thread"),
    ]
