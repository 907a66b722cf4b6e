"""What every site reaches when it learns alone: the comparison that learning together has to win.

Run as ``python -m nervure_simulations.fleet.alone FOLDER`` by ``learn_alone``, in a process of its own and with low
priority, since the runner's agents must not wait for it; it reads what the run prepared in FOLDER, prints one line, and
waits to be stopped.

Rules: a site trains from the same start, with the same step, as many passes over *all* it will ever see as the rounds
make, which favours it over an agent that learns while its traffic still comes; both are judged by the same judge on the
same held-out flows.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from nervure_core.bundle import TRAIN, Bundle, read_bundle
from nervure_edge.network.dataset import features_of
from nervure_edge.network.records.flow_table import read_table
from nervure_federation.judge import judge_weights
from nervure_federation.models import Fitter, Schedule
from nervure_simulations.fleet.traffic import Traffic
from nervure_simulations.report.model import Score
from nervure_simulations.scenarios import Scenario
from nervure_simulations.servers import ChildSpec, Supervisor
from nervure_simulations.servers.child import json_ready
from nervure_simulations.sites.heldout import Examples

NICENESS = 10
WITHIN_S = 600.0


def prepare_alone(folder: Path, scenario: Scenario, traffic: Traffic) -> None:
    """Write what ``learn_alone`` reads: the scenario and the held-out flows."""
    (folder / "scenario.json").write_text(scenario.model_dump_json(indent=1), encoding="utf-8")
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {}
    for region, sites in traffic.heldout.items():
        for site, (x, y) in sites.items():
            arrays[f"{region}/{site}/x"], arrays[f"{region}/{site}/y"] = x, y
    np.savez(folder / "heldout.npz", allow_pickle=False, **arrays)


async def learn_alone(supervisor: Supervisor, folder: Path) -> Score:
    """Let every agent's site learn alone, in a process beside, and return the mean of what the judge measures.

    Raises:
        ChildError: The process failed.
    """
    argv = (sys.executable, "-m", "nervure_simulations.fleet.alone", str(folder))
    child = await supervisor.start(ChildSpec("alone", argv, ready=json_ready), within_s=WITHIN_S)
    score = Score(accuracy=child.answer["accuracy"], f1=child.answer["f1"], fpr=child.answer["fpr"])
    await child.stop()
    return score


def alone(scenario: Scenario, bundle: Bundle, tables: Sequence[Path], heldout: Mapping[str, Examples]) -> Score:
    """Train on each table alone and return the mean of what the judge measures."""
    learning = scenario.learning
    fitter = Fitter(bundle.path(TRAIN))
    weights = bundle.weights()
    start = {name: weights[name].astype(np.float32) for name in bundle.manifest.trainable}
    schedule = Schedule(
        epochs=learning.rounds * learning.epochs,
        learning_rate=learning.learning_rate,
        batch_size=learning.batch_size,
        seed=scenario.seed,
    )
    verdicts = []
    for table in tables:
        data = features_of(read_table(table))
        verdicts.append(judge_weights(bundle, fitter.fit(start, data.x, data.y, schedule).weights, heldout))
    return Score(
        accuracy=fmean(verdict.accuracy for verdict in verdicts),
        f1=fmean(verdict.f1 for verdict in verdicts),
        fpr=fmean(verdict.fpr for verdict in verdicts),
    )


def main() -> None:
    """Learn alone on every table of a run's folder."""
    os.nice(NICENESS)
    folder = Path(sys.argv[1])
    scenario = Scenario.model_validate_json((folder / "scenario.json").read_text(encoding="utf-8"))
    with np.load(folder / "heldout.npz", allow_pickle=False) as archive:
        names = sorted({key.rpartition("/")[0] for key in archive.files})
        heldout = {name: (archive[f"{name}/x"], archive[f"{name}/y"]) for name in names}
    tables = sorted((folder / "traffic").iterdir())
    score = alone(scenario, read_bundle(folder / "start"), tables, heldout)
    sys.stdout.write(json.dumps({"event": "ready", **score.model_dump()}) + "\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
