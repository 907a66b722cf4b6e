from __future__ import annotations

from itertools import product

import pytest

from nervure_edge.network.tcp_state import ACK, FIN, RST, STATES, SYN, TABLE, Side, conn_state, side_of

# (packets, union of flags) of one side, by the word that sums it up.
EXAMPLES = {
    Side.SILENT: [(0, 0)],
    Side.PARTIAL: [(1, 0), (5, ACK)],
    Side.OPEN: [(1, SYN), (3, SYN | ACK), (0, SYN)],
    Side.CLOSED: [(2, SYN | FIN | ACK), (1, FIN)],
    Side.REFUSED: [(1, RST), (1, RST | ACK), (2, RST | FIN)],
    Side.RESET: [(2, SYN | RST), (3, SYN | FIN | RST | ACK)],
}


@pytest.mark.parametrize(("source", "other"), list(product(Side, Side)))
def test_every_cell(source: Side, other: Side) -> None:
    expected = TABLE[source][other]
    assert expected in STATES
    for (spkts, sflags), (dpkts, dflags) in product(EXAMPLES[source], EXAMPLES[other]):
        assert (side_of(spkts, sflags), side_of(dpkts, dflags)) == (source, other)
        assert conn_state(6, spkts=spkts, sflags=sflags, dpkts=dpkts, dflags=dflags) == expected


def test_every_word_is_used_and_laws_hold() -> None:
    assert {word for row in TABLE for word in row} == set(STATES)
    for source in Side:
        for other in (Side.REFUSED, Side.RESET):  # a reset by the asked side weighs most
            assert TABLE[source][other] in {"REJ", "RSTR", "RSTRH"}
    for other in (Side.SILENT, Side.PARTIAL, Side.OPEN, Side.CLOSED):
        for source in (Side.REFUSED, Side.RESET):
            assert TABLE[source][other] in {"RSTO", "RSTOS0"}


@pytest.mark.parametrize(("spkts", "dpkts", "state"), [(1, 0, "S0"), (2, 3, "SF"), (0, 1, "SHR"), (0, 0, "OTH")])
def test_datagrams(spkts: int, dpkts: int, state: str) -> None:
    assert conn_state(17, spkts=spkts, sflags=0, dpkts=dpkts, dflags=0) == state
    assert conn_state(1, spkts=spkts, sflags=0, dpkts=dpkts, dflags=0) == "OTH"
