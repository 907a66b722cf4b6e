"""``nervure rounds heldout``: store what candidates are judged on, and see what there is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nervure_core.command.output import emit, json_option
from nervure_core.errors import InputError
from nervure_core.ids import check_name
from nervure_hub.commands.client import Api, api_option


@click.group()
def heldout() -> None:
    """Store held-out sets, which candidates are judged on, and see what there is.

    \b
    Examples:
      nervure rounds heldout push demo out/heldout
      nervure rounds heldout list
    """


@heldout.command(short_help="Store the sets of a folder under a name.")
@click.argument("name")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@api_option
@json_option
def push(name: str, folder: Path, api: str, as_json: bool) -> None:
    """Store DIR/REGION/SITE.npz under NAME, for `nervure rounds start --heldout NAME`.

    Each file holds x, float32 [n, F], and y, int64 [n]: rows that no agent trains on and the index of their true label.
    Sets are checked here first, then by the hub; where one is wrong none is stored. A name keeps its sets: others get
    another name.

    \b
    Examples:
      nervure sites heldout --out out/heldout
      nervure rounds heldout push demo out/heldout
    """
    from nervure_federation.heldout import check_sets

    check_name("held-out set", name)
    sets = read_folder(folder)
    check_sets(sets)
    with Api(api) as client:
        data = client.upload(
            "/v1/heldout", [("files", (f"{site}.npz", content)) for site, content in sets.items()], {"name": name}
        )
    emit(data, as_json=as_json, human=_pushed)


@heldout.command(name="list")
@api_option
@json_option
def list_(api: str, as_json: bool) -> None:
    """List the held-out sets that there are.

    \b
    Example:
      nervure rounds heldout list --json
    """
    with Api(api) as client:
        data = client.get("/v1/heldout")
    emit(data, as_json=as_json, human=_names)


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the files ``REGION/SITE.npz`` of a folder, by ``REGION/SITE``.

    Raises:
        InputError: The folder is not there, holds no such file or too much, or can't be read.
    """
    from nervure_federation.heldout import MAX_HELDOUT_BYTES

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", hint="`nervure sites heldout --out DIR` makes one")
    paths = sorted(folder.glob("*/*.npz"))
    if not paths:
        raise InputError(
            f"{folder}: holds no REGION/SITE.npz", hint="give the folder above those of the regions, as DIR"
        )
    try:
        size = sum(path.stat().st_size for path in paths)
        if size > MAX_HELDOUT_BYTES:
            raise InputError(f"{folder}: {size:,} bytes of held-out sets, {MAX_HELDOUT_BYTES:,} are allowed")
        return {f"{path.parent.name}/{path.stem}": path.read_bytes() for path in paths}
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error


def _pushed(data: Mapping[str, Any]) -> str:
    sites = data["sites"]
    rows, positives = (sum(site[key] for site in sites) for key in ("rows", "positives"))
    regions = len({site["region"] for site in sites})
    return (
        f"stored held-out sets {data['name']}: {rows:,} rows ({positives:,} of them attacks) "
        f"of {len(sites)} site{'' if len(sites) == 1 else 's'} in {regions} region{'' if regions == 1 else 's'}\n"
        f"nervure rounds start --model NAME --heldout {data['name']} judges on them"
    )


def _names(data: Mapping[str, Any]) -> str:
    from nervure_hub.commands.tables import table

    if not data["heldout"]:
        return "no held-out sets yet: store some with `nervure rounds heldout push NAME DIR`"
    rows = [
        (
            found["name"],
            len(found["sites"]),
            ", ".join(sorted({site.partition("/")[0] for site in found["sites"]})),
            ", ".join(site.partition("/")[2] for site in found["sites"][:4])
            + (" …" if len(found["sites"]) > 4 else ""),
        )
        for found in data["heldout"]
    ]
    return table(("NAME", "SITES", "REGIONS", "FIRST"), rows, numbers=("SITES",))
