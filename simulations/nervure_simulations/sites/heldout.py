"""Sites as arrays in schema flow.v1, on either side of the cut."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from nervure_edge.network.dataset import features_of
from nervure_simulations.sites.site import Site

Examples = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Features `x` float32 of shape (n, F) and labels `y` int64 of shape (n,): 0 benign, 1 attack."""


def heldout_arrays(sites: Iterable[Site]) -> dict[str, dict[str, Examples]]:
    """Return the held-out flows by region and site.

    Features are computed over the whole table in time order and cut afterwards, so that the counters over the last
    hundred connections are those that the sensor would have had.

    Raises:
        InputError: A table cannot be read or does not hold what it should.
    """
    return _arrays(sites, held_out=True)


def training_arrays(sites: Iterable[Site]) -> dict[str, dict[str, Examples]]:
    """Return the flows that agents may learn from, by region and site (for central and local-only comparisons).

    Raises:
        InputError: A table cannot be read or does not hold what it should.
    """
    return _arrays(sites, held_out=False)


def _arrays(sites: Iterable[Site], *, held_out: bool) -> dict[str, dict[str, Examples]]:
    regions: dict[str, dict[str, Examples]] = {}
    for site in sites:
        data = features_of(site.flows())
        rows = slice(site.train_rows, None) if held_out else slice(0, site.train_rows)
        regions.setdefault(site.region, {})[site.name] = (data.x[rows], data.y[rows])
    return regions
