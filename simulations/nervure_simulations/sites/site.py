"""One site: a table of flows in the order in which they ended, and the row where the held-out part begins.

Rules:
    1. The split is by time: every flow of the first part ended before every flow of the second. Shuffled splits would
       put flows of one attack run on both sides and flatter every model.
    2. Agents see the first part only (`learning_flows`, `write_learning_table`); nothing trains on the second.
    3. Features of held-out flows are computed with the first part before them, as the sensor on the spot would have
       done: the last-hundred-connections counters do not start from nothing at the cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nervure_core.errors import InputError
from nervure_edge.network.flow import Flow
from nervure_edge.network.records import open_records
from nervure_edge.network.records.flow_table import in_order_of_end, write_table


class SiteDamaged(InputError):
    """A site's table is missing, was changed, or does not hold what its index says.

    Args:
        site: Name of the site.
        path: Its table.
        reason: What is wrong with it.
    """

    code = "site_damaged"

    def __init__(self, site: str, path: Path, reason: str) -> None:
        super().__init__(f"site {site}: {path}: {reason}", hint="restore the file, or make the sites anew")
        self.site = site
        self.path = path


@dataclass(frozen=True, slots=True)
class Site:
    """One site of a fleet: who it is, where its flows are, and how they are split."""

    name: str
    region: str
    path: Path
    attacks: tuple[str, ...]
    """Kinds of attack in its table, sorted."""
    rows: int
    """Flows in its table."""
    train_rows: int
    """Leading flows that its agent may learn from; the others are held out."""
    role: str = "range"
    """"range" or "iot23": agents own it; "reference": only ever judged on."""
    devices: tuple[str, ...] = ()
    profile: str = ""

    def flows(self) -> list[Flow]:
        """Return all flows, in the order in which they ended, under this site's name.

        Raises:
            SiteDamaged: The table does not hold as many flows as it should.
            InputError: It cannot be read.
        """
        with open_records(self.path) as records:
            flows = in_order_of_end(records)
            if records.skipped or len(flows) != self.rows:
                raise SiteDamaged(
                    self.name,
                    self.path,
                    f"{len(flows)} flows and {records.skipped} damaged rows instead of {self.rows}",
                )
        return flows

    def learning_flows(self) -> list[Flow]:
        """Return the flows that the site's agent may replay and learn from."""
        return self.flows()[: self.train_rows]

    def held_out_flows(self) -> list[Flow]:
        """Return the flows that no agent ever trains on."""
        return self.flows()[self.train_rows :]

    def write_learning_table(self, path: Path) -> int:
        """Write what the site's agent may see to a flow table, and return the number of flows.

        Raises:
            WorldError: The file cannot be written.
            InputError: The site's own table cannot be read.
        """
        return write_table(path, self.learning_flows())


def cut_by_time(flows: Sequence[Flow], share: float) -> int:
    """Return how many leading flows ended within the first `share` of a capture's flows.

    The cut is by count along the time axis, which keeps both parts useful where a capture is quiet for hours; flows
    that ended at the same microsecond as the cut stay on one side.
    """
    cut = int(len(flows) * share)
    while 0 < cut < len(flows) and flows[cut].end_us == flows[cut - 1].end_us:
        cut += 1
    return cut
