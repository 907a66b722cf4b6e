"""The sites shipped with Nervure, or a folder made by `nervure range build`: tables and an index that names their hashes."""

import json
from pathlib import Path
from typing import Any

from nervure_core.errors import InputError
from nervure_core.files import sha256_file
from nervure_simulations.sites.site import Site, SiteDamaged

DATA_FOLDER = Path(__file__).resolve().parent.parent / "data" / "flows"
"""Where the shipped tables lie, inside the package."""
_FORMAT = 1


def load_sites(folder: Path = DATA_FOLDER, *, role: str = "range") -> list[Site]:
    """Return the sites of a folder, sorted by region and name, after checking each table against its hash.

    Args:
        folder: Holds `index.json` and the tables it names.
        role: "range" for the sites that agents own, "reference" for captures from elsewhere that are only judged on.

    Raises:
        SiteDamaged: A table is missing or has another hash than the index says.
        InputError: The index is missing or not understood.
    """
    index = folder / "index.json"
    try:
        document: dict[str, Any] = json.loads(index.read_text())
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']!r}, this version reads {_FORMAT}")
        sites = [_site(folder, row) for row in document["sites"] if row["role"] == role]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{index}: not an index of sites ({error})", hint="give a folder made by nervure range build"
        ) from error
    return sorted(sites, key=lambda site: (site.region, site.name))


def _site(folder: Path, row: dict[str, Any]) -> Site:
    path = folder / str(row["file"])
    name = str(row["site"])
    if not path.is_file():
        raise SiteDamaged(name, path, "the table is not there")
    if sha256_file(path) != row["sha256"]:
        raise SiteDamaged(name, path, "the table has changed since it was made")
    return Site(
        name=name,
        region=str(row["region"]),
        path=path,
        attacks=tuple(row["attacks"]),
        rows=int(row["flows"]),
        train_rows=int(row["split"]["train_rows"]),
        role=str(row["role"]),
        devices=tuple(row["devices"]),
        profile=str(row["profile"]),
    )
