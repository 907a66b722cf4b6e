from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.support.patience import patient

from nervure_edge.network.dataset import features_of
from nervure_edge.network.flow import Flow
from nervure_edge.network.flow_v1 import COLUMNS, NUMERIC, SCHEMA, FlowFeatures
from nervure_edge.network.last_hundred import NAMES, WINDOW, LastHundred
from nervure_edge.network.services import SERVICES, canonical, looks_like_server, service_of
from nervure_edge.network.tcp_state import STATES

FLOW = Flow(
    start_us=0,
    dur_us=2_000_000,
    src="10.0.0.1",
    dst="10.0.0.2",
    sport=4000,
    dport=80,
    proto="tcp",
    service="http",
    state="SF",
    spkts=5,
    dpkts=4,
    sbytes=1000,
    dbytes=400,
)


def test_the_schema_is_fixed_for_ever() -> None:
    """Models in the field were trained on these columns: change the schema's name, not the columns."""
    assert SCHEMA == "flow.v1"
    assert len(COLUMNS) == len(set(COLUMNS)) == 56
    assert hashlib.sha256(",".join(COLUMNS).encode()).hexdigest()[:16] == "2e5340fc83f4f288"


def test_values() -> None:
    row = dict(zip(COLUMNS, FlowFeatures().vector(FLOW).tolist(), strict=True))
    assert {name: row[name] for name in NUMERIC if name not in NAMES} == {
        "dur": 2.0,
        "spkts": 5.0,
        "dpkts": 4.0,
        "sbytes": 1000.0,
        "dbytes": 400.0,
        "smean": 200.0,
        "dmean": 100.0,
        "rate": 4.0,
        "sload": 8 * 800 / 2,
        "dload": 8 * 300 / 2,
        "is_sm_ips_ports": 0.0,
    }
    assert {name for name in COLUMNS[len(NUMERIC) :] if row[name]} == {"proto=tcp", "service=http", "state=SF"}


def test_a_value_of_the_published_data() -> None:
    """The first row of the UNSW-NB15 test partition: two packets of 496 bytes in 11 microseconds."""
    flow = replace(FLOW, proto="udp", spkts=2, dpkts=0, sbytes=496, dbytes=0, dur_us=11)
    row = dict(zip(COLUMNS, FlowFeatures().vector(flow).tolist(), strict=True))
    assert np.isclose(row["rate"], 90909.0902)
    assert np.isclose(row["sload"], 180363632)
    assert (row["smean"], row["dmean"], row["dload"]) == (248.0, 0.0, 0.0)


def test_words_outside_of_the_vocabularies() -> None:
    row = dict(
        zip(COLUMNS, FlowFeatures().vector(replace(FLOW, proto="gre", service="x", state="?")).tolist(), strict=True)
    )
    assert (row["proto=other"], row["service=other"], row["state=OTH"]) == (1.0, 1.0, 1.0)


def test_land_is_seen() -> None:
    vector = FlowFeatures().vector(replace(FLOW, dst=FLOW.src, sport=80))
    assert vector[COLUMNS.index("is_sm_ips_ports")] == 1.0


FLOWS = st.builds(
    lambda src, dst, sport, dport, service: replace(FLOW, src=src, dst=dst, sport=sport, dport=dport, service=service),
    st.sampled_from("abc"),
    st.sampled_from("abc"),
    st.sampled_from([1, 2, 80]),
    st.sampled_from([1, 2, 80]),
    st.sampled_from(["http", "dns", "-"]),
)


def naive(window: list[Flow]) -> tuple[int, ...]:
    """The definitions of the paper, by counting the last hundred connections anew."""
    this = window[-1]
    return (
        sum(f.service == this.service and f.src == this.src for f in window),
        sum(f.service == this.service and f.dst == this.dst for f in window),
        sum(f.dst == this.dst for f in window),
        sum(f.src == this.src for f in window),
        sum(f.src == this.src and f.dport == this.dport for f in window),
        sum(f.dst == this.dst and f.sport == this.sport for f in window),
        sum(f.src == this.src and f.dst == this.dst for f in window),
    )


@patient
@given(st.lists(FLOWS, min_size=1, max_size=260))
def test_counters_against_their_definition(flows: list[Flow]) -> None:
    last_hundred = LastHundred()
    for end, flow in enumerate(flows, start=1):
        assert last_hundred.add(flow) == naive(flows[max(0, end - WINDOW) : end])


@patient
@given(st.lists(FLOWS, max_size=30), st.lists(st.sampled_from(["north", "south"]), min_size=30, max_size=30))
def test_every_site_has_a_window_of_its_own(flows: list[Flow], names: list[str]) -> None:
    placed = [replace(flow, site=name) for flow, name in zip(flows, names, strict=False)]
    data = features_of(placed)
    for name in ("north", "south"):
        alone = features_of([flow for flow in placed if flow.site == name])
        assert np.array_equal(data.of_site(name).x, alone.x)
    assert data.x.shape == (len(placed), len(COLUMNS))
    assert data.x.dtype == np.float32


@patient
@given(
    st.builds(
        replace,
        st.just(FLOW),
        dur_us=st.integers(0, 2**40),
        spkts=st.integers(0, 2**40),
        dpkts=st.integers(0, 2**40),
        sbytes=st.integers(0, 2**50),
        dbytes=st.integers(0, 2**50),
        proto=st.text(max_size=5),
        service=st.sampled_from(SERVICES),
        state=st.sampled_from(STATES),
    )
)
def test_values_are_finite_and_words_are_one_hot(flow: Flow) -> None:
    vector = FlowFeatures().vector(flow)
    assert np.isfinite(vector).all()
    assert (vector >= 0).all()
    assert vector[len(NUMERIC) :].sum() == 3


def test_services() -> None:
    assert service_of("tcp", 40000, 22) == "ssh"
    assert service_of("tcp", 20, 40000) == "ftp-data"
    assert service_of("udp", 40000, 40001) == "-"
    assert service_of("icmp", 8, 0) == "-"
    assert looks_like_server("udp", 53)
    assert not looks_like_server("icmp", 8)
    assert {service_of(proto, 0, port) for proto in ("tcp", "udp") for port in range(65536)} <= set(SERVICES)
    assert [canonical(name) for name in ("", "ssl,http", "TLS", "gssapi,smb", "zork", "krb,zork")] == [
        "-",
        "ssl",
        "ssl",
        "smb",
        "other",
        "other",
    ]
