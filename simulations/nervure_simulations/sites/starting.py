"""The starting model: what a fleet begins with, in the demo and by hand.

Rules: it knows a few flows of every site of one region, which its lineage says; the same sites, settings and seed give the same
bundle, so what is made by hand is what the demo deploys.

>>> learning = Learning(model="flows")
>>> region, sample = starting_sample({"home": [examples]}, learning.starting_flows)  # doctest: +SKIP
>>> starting_model(Path("out/model"), sample, region, learning, seed=7).manifest.name  # doctest: +SKIP
'flows'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nervure_core.bundle import Bundle, TrainingSpec
from nervure_edge.network.flow_v1 import COLUMNS, SCHEMA
from nervure_federation.models import Purpose, Schedule, heavy_tailed, starting_bundle
from nervure_simulations.scenarios import Learning
from nervure_simulations.sites.heldout import Examples

LABELS = ("benign", "attack")
STARTING_EPOCHS = 8


def starting_model(folder: Path, sample: Examples, region: str, learning: Learning, *, seed: int) -> Bundle:
    """Make the starting model and write its bundle.

    Args:
        folder: Must not exist yet.
        sample: What it is trained on.
        region: Where that is from; its lineage says so.
        learning: Name and shape of the model, its threshold, and the defaults of its training.
        seed: Of its first weights and of the order of the rows.

    Raises:
        BundleError: The folder exists.
        OSError: The files can't be written; nothing is left behind.
    """
    x, y = sample
    return starting_bundle(
        folder,
        x,
        y,
        Purpose(
            learning.model,
            LABELS,
            benign_label="benign",
            workload="network",
            features=SCHEMA,
            columns=COLUMNS,
            threshold=learning.threshold,
        ),
        heavy=heavy_tailed(COLUMNS),
        hidden=learning.hidden,
        schedule=Schedule(epochs=STARTING_EPOCHS, seed=seed),
        training=TrainingSpec(
            optimizer=learning.optimizer,
            stateful=learning.optimizer == "adam",
            learning_rate=learning.learning_rate,
            batch_size=learning.batch_size,
        ),
        note=f"{len(y)} flows of {region}",
    )


def starting_sample(regions: Mapping[str, Sequence[Examples]], flows: int) -> tuple[str, Examples]:
    """Take the first flows of every site of the first region that has both benign and attack among them.

    A starting model that knows one part of the world is what a fleet really begins with: the rounds do the rest.

    Args:
        regions: Each site's examples, by region.
        flows: So many of each site.
    """
    samples = [
        (region, (np.concatenate([x[:flows] for x, _ in sites]), np.concatenate([y[:flows] for _, y in sites])))
        for region, sites in regions.items()
    ]
    return max(samples, key=lambda sample: len(set(sample[1][1].tolist())))
