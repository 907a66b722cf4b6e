"""Held-out sets: labelled rows that no agent trains on, by name, region and site; what candidates are judged on.

Rules:

- A set is an npz file with ``x`` float32 [n, F] and ``y`` int64 [n], the index of each row's true label.
- It is read without pickle and within a bound on what it unpacks to, whoever made it.
- Sets are stored as ``heldout/<name>/<region>/<site>.npz``. A name keeps its sets, since rounds are compared by what they are
  judged on: other content is refused, and gets another name.
- Everything is checked before anything is written, and a store that fails in the middle is left as it was.

>>> sets = {"europe/hall": pack_heldout(x, y)}  # doctest: +SKIP
>>> await put_heldout(objects, "demo", sets)  # doctest: +SKIP
"""

from nervure_federation.heldout.format import (
    MAX_HELDOUT_BYTES,
    MAX_SITES,
    HeldoutSite,
    HeldoutUnusable,
    check_sets,
    pack_heldout,
    read_heldout,
)
from nervure_federation.heldout.store import (
    HeldoutConflict,
    HeldoutName,
    NoHeldout,
    held_sites,
    list_heldout,
    load_heldout,
    put_heldout,
    require_heldout,
)

__all__ = [
    "MAX_HELDOUT_BYTES",
    "MAX_SITES",
    "HeldoutConflict",
    "HeldoutName",
    "HeldoutSite",
    "HeldoutUnusable",
    "NoHeldout",
    "check_sets",
    "held_sites",
    "list_heldout",
    "load_heldout",
    "pack_heldout",
    "put_heldout",
    "read_heldout",
    "require_heldout",
]
