"""Models that are made here, and the bundles they are deployed in.

Order: a small public sample gives the normalisation (:class:`Normalisation`) and, briefly trained on, the starting
weights; :func:`build_bundle` turns any softmax classifier in ONNX into a trainable bundle; from then on rounds change
``weights.bin`` and nothing else.

>>> bundle = starting_bundle(Path("out/start"), x, y, purpose, heavy=heavy)  # doctest: +SKIP
>>> bundle.manifest.trainable  # doctest: +SKIP
('fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias', 'fc3.weight', 'fc3.bias')
"""

from nervure_federation.models import mlp
from nervure_federation.models.bundles import TRAINING, Purpose, build_bundle
from nervure_federation.models.fitting import Fit, Fitter, Schedule
from nervure_federation.models.normalisation import Normalisation, heavy_tailed
from nervure_federation.models.starting import starting_bundle

__all__ = [
    "TRAINING",
    "Fit",
    "Fitter",
    "Normalisation",
    "Purpose",
    "Schedule",
    "build_bundle",
    "heavy_tailed",
    "mlp",
    "starting_bundle",
]
