"""Writing converted sites as a folder of flow tables with an index: the form in which sites are shipped.

`index.json` names each table with its hash, its split, its composition and how it was made; `nervure_simulations.sites`
reads it and nothing else.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nervure_core.files import sha256_file
from nervure_edge.network.flow import BENIGN
from nervure_edge.network.records.flow_table import write_table
from nervure_simulations.ranges.convert import LabelledSite

INDEX = "index.json"
INDEX_FORMAT = 1


def publish_sites(sites: Iterable[LabelledSite], out: Path, *, role: str, licence: str) -> list[dict[str, Any]]:
    """Write one table a site and return the index rows.

    Args:
        sites: What to write.
        out: Existing folder.
        role: "range" for sites that agents own, "reference" for captures that are only ever judged on.
        licence: Terms of these tables.
    """
    rows: list[dict[str, Any]] = []
    for site in sites:
        path = out / f"{site.site}.csv.gz"
        write_table(path, site.flows)
        held_out = site.flows[site.train_rows :]
        rows.append(
            {
                "site": site.site,
                "region": site.region,
                "role": role,
                "profile": site.profile,
                "devices": list(site.devices),
                "attacks": sorted({flow.attack for flow in site.flows} - {""}),
                "file": path.name,
                "sha256": sha256_file(path),
                "flows": len(site.flows),
                "benign": site.counts.get(BENIGN, 0),
                "counts": site.counts,
                "split": {
                    "train_rows": site.train_rows,
                    "held_out_rows": len(held_out),
                    "held_out_attacks": sum(bool(flow.attack) for flow in held_out),
                },
                "left_out": site.left_out,
                "licence": licence,
                **site.facts,
            }
        )
    return rows


def write_index(out: Path, rows: Iterable[dict[str, Any]], tools: dict[str, str]) -> None:
    """Write the index of a folder of tables."""
    ordered = sorted(rows, key=lambda row: str(row["site"]))
    text = json.dumps({"format": INDEX_FORMAT, "tools": tools, "sites": ordered}, indent=1)
    (out / INDEX).write_text(text + "\n")
