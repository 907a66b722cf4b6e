"""Sites: labelled flows, one table per place, split by time into what an agent may learn from and what is held out.

>>> sites = load_sites()
>>> len(sites), sorted({site.region for site in sites})
(30, ['americas', 'asia', 'europe'])
"""

from nervure_simulations.sites.heldout import heldout_arrays, training_arrays
from nervure_simulations.sites.iot23 import load_iot23
from nervure_simulations.sites.shipped import DATA_FOLDER, load_sites
from nervure_simulations.sites.site import Site, SiteDamaged

__all__ = ["DATA_FOLDER", "Site", "SiteDamaged", "heldout_arrays", "load_iot23", "load_sites", "training_arrays"]
