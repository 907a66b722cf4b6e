"""Held-out sets in the object store: ``heldout/<name>/<region>/<site>.npz``.

>>> await put_heldout(objects, "demo", {"europe/hall": data})  # doctest: +SKIP
>>> [found.name for found in await list_heldout(objects)]  # doctest: +SKIP
['demo']
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nervure_core.errors import InputError
from nervure_core.ids import check_name
from nervure_federation.heldout.format import MAX_HELDOUT_BYTES, HeldoutSite, check_sets, read_heldout
from nervure_hub.objects import ObjectStore, ObjectStoreFailed

if TYPE_CHECKING:
    from nervure_federation.judge import Heldout  # brings onnxruntime, which who only stores sets does not need

_PREFIX = "heldout"
_ENDING = ".npz"


class NoHeldout(InputError):
    """There is nothing to judge on.

    Attributes:
        name: Which sets were asked for.
    """

    code = "no-heldout"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there are no held-out sets named {name!r} to judge on (heldout/{name}/ in the object store)",
            hint=f"store some by `nervure rounds heldout push {name} DIR`, name others with --heldout "
            "(`nervure rounds heldout list` shows them), or run without a judge by --no-judge",
        )
        self.name = name


class HeldoutConflict(InputError):
    """Other sets of that name are there.

    Attributes:
        name: Of the sets.
        sites: Those that differ, as ``region/site``.
    """

    code = "heldout-conflict"

    def __init__(self, name: str, sites: tuple[str, ...]) -> None:
        shown = ", ".join(sites[:5]) + (f" and {len(sites) - 5} more" if len(sites) > 5 else "")
        super().__init__(
            f"there are other held-out sets named {name!r}: {shown} would change",
            hint="rounds are compared by what they are judged on, so a name keeps its sets: push under another name",
        )
        self.name = name
        self.sites = sites


@dataclass(frozen=True, slots=True)
class HeldoutName:
    """Which sets there are of one name."""

    name: str
    sites: tuple[str, ...]
    """As ``region/site``, in order."""


async def put_heldout(objects: ObjectStore, name: str, sets: Mapping[str, bytes]) -> list[HeldoutSite]:
    """Store sets, all or none, and return what each holds; the same sets again change nothing.

    Args:
        objects: Where the judge looks.
        name: What runs call the sets.
        sets: The files by ``region/site``.

    Raises:
        ConfigurationError: ``name`` is no name.
        InputError: A set is not what it has to be.
        HeldoutConflict: The name has other sets.
        ObjectStoreFailed: The object store is away.
    """
    check_name("held-out set", name)
    sites = await asyncio.to_thread(check_sets, sets)
    # Those of an earlier push that was cut short are completed.
    there = await held_sites(objects, name)
    changed = [site for site in there if site not in sets or await objects.get_named(_key(name, site)) != sets[site]]
    if changed:
        raise HeldoutConflict(name, tuple(changed))
    new = sorted(sets.keys() - set(there))
    try:
        for site in new:
            await objects.put_named(_key(name, site), sets[site])
    except BaseException:
        # Also when cancelled. A store that fails now perhaps fails for this too: then the first error is what is told.
        with suppress(ObjectStoreFailed):
            for site in new:
                await objects.delete_named(_key(name, site))
        raise
    return sites


async def list_heldout(objects: ObjectStore) -> list[HeldoutName]:
    """Return the sets that there are, by name.

    Raises:
        ObjectStoreFailed: The object store is away.
    """
    found: dict[str, list[str]] = {}
    for key in await objects.list_named(_PREFIX):
        _, name, site = key.split("/", 2) if key.count("/") > 1 else ("", "", key)
        if name and site.endswith(_ENDING):
            found.setdefault(name, []).append(site.removesuffix(_ENDING))
    return [HeldoutName(name, tuple(sites)) for name, sites in sorted(found.items())]


async def load_heldout(objects: ObjectStore, name: str) -> Heldout:
    """Return the sets of a name, by ``region/site``.

    Raises:
        NoHeldout: There are none of that name.
        HeldoutUnusable: One is not what it has to be, or they are too large together.
        ObjectStoreFailed: The object store is away.
    """
    sets: dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]] = {}
    left = MAX_HELDOUT_BYTES
    for site in await held_sites(objects, name):
        data = await objects.get_named(_key(name, site))
        x, y = await asyncio.to_thread(read_heldout, data, _key(name, site), limit_bytes=left)
        left -= x.nbytes + y.nbytes
        sets[site] = (x, y)
    if not sets:
        raise NoHeldout(name)
    return sets


async def require_heldout(objects: ObjectStore, name: str) -> None:
    """Check that there are sets of a name.

    Raises:
        NoHeldout: There are none.
        ObjectStoreFailed: The object store is away.
    """
    if not await held_sites(objects, name):
        raise NoHeldout(name)


async def held_sites(objects: ObjectStore, name: str) -> list[str]:
    """Return whose sets there are of a name, as ``region/site``, in order.

    Raises:
        ObjectStoreFailed: The object store is away.
    """
    prefix = f"{_PREFIX}/{name}/"
    return [
        key.removeprefix(prefix).removesuffix(_ENDING)
        for key in await objects.list_named(prefix)
        if key.endswith(_ENDING)
    ]


def _key(name: str, site: str) -> str:
    return f"{_PREFIX}/{name}/{site}{_ENDING}"
