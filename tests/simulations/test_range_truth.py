"""Labels by construction: windows, ends, ports, and which of several windows speaks."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.errors import InputError
from nervure_edge.network.flow import Flow
from nervure_simulations.ranges.convert import cap_episodes, label_flows
from nervure_simulations.ranges.truth import SLACK_US, Window, label_of, read_truth, write_truth

SCAN = Window("syn_scan", 10_000_000, 12_000_000, ("198.18.0.10",), ("10.0.0.5",), "tcp", None)
GUESS = Window("ssh_guessing", 10_000_000, 12_000_000, ("198.18.0.10",), ("10.0.0.5",), "tcp", (22,))
FLOOD = Window("udp_flood", 10_000_000, 12_000_000, ("198.18.0.64/26",), (), "udp", None)


def _label(*windows: Window, at: int = 11_000_000, source: str = "198.18.0.10", **changed: object) -> str:
    values: dict[str, object] = {"target": "10.0.0.5", "port": 443, "protocol": "tcp", **changed}
    return label_of(windows, start_us=at, source=source, **values)  # type: ignore[arg-type]  # a table of keywords


def test_a_flow_of_the_attacker_in_its_window_is_the_attack() -> None:
    assert _label(SCAN) == "syn_scan"


def test_the_other_direction_counts_too() -> None:
    assert _label(SCAN, source="10.0.0.5", target="198.18.0.10", source_port=443) == "syn_scan"
    assert _label(GUESS, source="10.0.0.5", target="198.18.0.10", port=50000, source_port=22) == "ssh_guessing"


def test_icmp_errors_belong_to_what_provoked_them() -> None:
    assert _label(FLOOD, source="10.0.0.5", target="198.18.0.70", protocol="icmp", port=0) == "udp_flood"


@pytest.mark.parametrize(
    "changed",
    [
        {"source": "10.0.0.9"},
        {"target": "10.0.0.6"},
        {"protocol": "udp"},
        {"at": 10_000_000 - SLACK_US - 1},
        {"at": 12_000_000 + SLACK_US + 1},
    ],
)
def test_what_differs_in_one_thing_is_innocent(changed: dict[str, object]) -> None:
    assert _label(SCAN, **changed) == ""  # type: ignore[arg-type]  # a table of keywords


def test_ports_are_asked_where_the_window_names_them() -> None:
    assert _label(GUESS, port=22) == "ssh_guessing"
    assert _label(GUESS, port=80) == ""


def test_the_window_that_says_most_names_the_kind() -> None:
    assert _label(SCAN, GUESS, port=22) == _label(GUESS, SCAN, port=22) == "ssh_guessing"


def test_ipv6_addresses_are_no_one_of_an_ipv4_window() -> None:
    assert _label(SCAN, source="fe80::1", target="ff02::16", protocol="icmp") == ""


@given(st.integers(min_value=0, max_value=30_000_000), st.sampled_from(["198.18.0.10", "198.18.0.70", "10.0.0.7"]))
def test_outside_every_window_all_is_innocent(at: int, source: str) -> None:
    label = _label(SCAN, GUESS, FLOOD, at=at, source=source)
    if not 10_000_000 - SLACK_US <= at <= 12_000_000 + SLACK_US or source == "10.0.0.7":
        assert label == ""


def test_truth_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "site.truth.json"
    write_truth(path, [SCAN, GUESS, FLOOD], {"site": "asia-01", "cut_us": 5})
    assert read_truth(path) == ((SCAN, GUESS, FLOOD), {"site": "asia-01", "cut_us": 5})


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"windows": [{"kind": 1}]}'])
def test_a_file_that_is_no_truth_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.truth.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not a ground-truth file"):
        read_truth(path)


def test_an_episode_keeps_its_first_flows() -> None:
    first = Flow(
        start_us=10_500_000, dur_us=10, src="198.18.0.10", dst="10.0.0.5", sport=1, dport=80, proto="tcp", service="http",
        state="REJ", spkts=1, dpkts=1, sbytes=40, dbytes=40,
    )  # fmt: skip
    innocent = replace(first, src="10.0.0.9")
    flows = label_flows([replace(first, sport=n) for n in range(5)] + [innocent], [SCAN], "asia-01")
    kept, left_out = cap_episodes(flows, [SCAN], 3)
    assert left_out == 2
    assert [flow.sport for flow in kept if flow.attack] == [0, 1, 2]
    assert [flow.label for flow in kept] == ["attack"] * 3 + ["benign"]
    assert {flow.site for flow in kept} == {"asia-01"}
