"""IoT-23 captures as sites: `--data DIR` of a simulation.

One capture is one site, a natural federated partition; inside each the first 70 % of the flows, in the order in which
they ended, are what its agent may learn from. Three captures are honeypots with innocent traffic only, so not every
site has attacks on both sides of its cut: judge on all of them together, and watch the worst.

Cite: Garcia, Parmisano, Erquiaga: IoT-23, 2020, doi 10.5281/zenodo.4743746.
"""

from pathlib import Path

from nervure_core.errors import InputError
from nervure_edge.network.records import NotRecords, open_records, site_of
from nervure_edge.network.records.flow_table import in_order_of_end
from nervure_simulations.ranges.catalogue import REGIONS
from nervure_simulations.sites.site import Site, cut_by_time

LEARNING_SHARE = 0.7
_ENDINGS = (".csv", ".csv.gz", ".log", ".log.gz", ".log.labeled")


def load_iot23(folder: Path, *, share: float = LEARNING_SHARE) -> list[Site]:
    """Return one site per labelled capture in a folder, shared out over the regions in turn.

    Args:
        folder: Holds Zeek conn.log files with labels (the CSV form counts too).
        share: Part of each capture's flows that its agent may learn from.

    Raises:
        InputError: The folder is not there, or holds no labelled capture.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder", hint="give the folder that holds IoT-23 captures")
    sites: list[Site] = []
    for path in sorted(path for path in folder.iterdir() if path.name.endswith(_ENDINGS)):
        try:
            with open_records(path) as records:
                flows = in_order_of_end(records)
        except NotRecords:
            continue
        if not flows or any(not flow.label for flow in flows):
            continue
        sites.append(
            Site(
                name=site_of(path).lower(),
                region=REGIONS[len(sites) % len(REGIONS)],
                path=path,
                attacks=tuple(sorted({flow.attack or "attack" for flow in flows if flow.label == "attack"})),
                rows=len(flows),
                train_rows=cut_by_time(flows, share),
                role="iot23",
            )
        )
    if not sites:
        raise InputError(
            f"{folder}: no labelled captures", hint="IoT-23 files are named *-labeled.csv.gz or conn.log.labeled"
        )
    return sites
