"""Following events: nothing twice, nothing left out, whatever comes late."""

from __future__ import annotations

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from nervure_hub.commands import tail as module
from nervure_hub.commands.tail import OVERLAP_US, Tail

Row = tuple[int, str, int]
BATCHES = st.lists(
    st.lists(st.tuples(st.integers(0, OVERLAP_US - 1), st.sampled_from(["aa", "bb"]), st.integers(0, 50)), max_size=12),
    min_size=1,
    max_size=5,
)


class Lake:
    """A table that answers the tail's own SQL."""

    def __init__(self) -> None:
        self.database = duckdb.connect()
        self.database.execute(
            "CREATE TABLE events (hub_time_us BIGINT, stream VARCHAR, seq BIGINT, region VARCHAR, agent VARCHAR, "
            "kind VARCHAR, time_us BIGINT, workload VARCHAR, subject VARCHAR, label VARCHAR, score FLOAT, "
            "action VARCHAR, model VARCHAR, release BIGINT, latency_us FLOAT, detail VARCHAR)"
        )

    def add(self, rows: list[Row]) -> None:
        for hub_time_us, stream, seq in rows:
            self.database.execute(
                "INSERT INTO events (hub_time_us, stream, seq) VALUES (?, ?, ?)", [hub_time_us, stream, seq]
            )

    def ask(self, sql: str) -> dict[str, object]:
        answer = self.database.execute(sql)
        return {"columns": [item[0] for item in answer.description or ()], "rows": answer.fetchall()}


def keys(events: object) -> list[Row]:
    assert isinstance(events, list)
    return [(event["hub_time_us"], event["stream"], event["seq"]) for event in events]


@settings(max_examples=40, deadline=None)
@given(batches=BATCHES, last=st.integers(0, 5))
def test_every_event_is_given_once_though_clocks_disagree(batches: list[list[Row]], last: int) -> None:
    lake = Lake()
    known: set[Row] = set()
    fresh = [list(dict.fromkeys(batch)) for batch in batches]
    for index, batch in enumerate(fresh):
        fresh[index] = [row for row in batch if row not in known]
        known |= set(batch)
    lake.add(fresh[0])
    tail = Tail(lake.ask)
    assert keys(list(tail.start(last))) == (sorted(fresh[0])[-last:] if last else [])
    for batch in fresh[1:]:
        lake.add(batch)
        assert keys(list(tail.more())) == sorted(batch)
    assert keys(list(tail.more())) == []
    lake.database.close()


def test_more_than_a_page_at_one_moment_is_given_whole() -> None:
    lake = Lake()
    tail = Tail(lake.ask, "seq % 2 = 0")
    assert tail.start(10) == []
    rows = [(7, "aa", seq) for seq in range(2 * module.PAGE + 400)]
    lake.database.execute(
        "INSERT INTO events (hub_time_us, stream, seq) SELECT 7, 'aa', range FROM range(?)", [len(rows)]
    )
    assert keys(list(tail.more())) == [row for row in rows if row[2] % 2 == 0]
    assert tail.more() == []
    lake.database.close()
