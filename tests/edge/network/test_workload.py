from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.frames import ACK, FIN, SYN, pcap, tcp_frame, udp_frame

from nervure_core.errors import ConfigurationError, InputError, WorldError
from nervure_edge.network.flow import ATTACK, BENIGN, Flow
from nervure_edge.network.flow_v1 import COLUMNS, FlowFeatures
from nervure_edge.network.records.flow_table import write_table
from nervure_edge.network.row_binding import RowBinding
from nervure_edge.network.sources import RecordSource
from nervure_edge.network.workload import NetworkPipeline
from nervure_edge.workloads import ModelInput, Observation, Pipeline, Workload, WorkloadConfig, open_workload

A, B = "10.0.0.2", "10.0.0.1"
S = 1_000_000
T0 = 1_700_000_000 * S
FRAMES = [
    (T0, tcp_frame(A, 5555, B, 22, SYN)),
    (T0 + 1000, tcp_frame(B, 22, A, 5555, SYN | ACK)),
    (T0 + 2000, tcp_frame(A, 5555, B, 22, FIN | ACK)),
    (T0 + 2500, tcp_frame(B, 22, A, 5555, FIN | ACK)),
    (T0 + 20 * S, udp_frame(A, 5000, B, 53, b"q")),
]


def make(options: Mapping[str, Any]) -> Workload:
    return open_workload("network", WorkloadConfig(options=options, model_inputs=tuple))


def drain(pipeline: Pipeline, limit: int = 256) -> list[Observation]:
    observations: list[Observation] = []
    while (polled := pipeline.poll(limit)) is not None:
        assert len(polled) <= limit
        observations += polled
    assert pipeline.poll(limit) is None
    pipeline.close()
    return observations


def flows(number: int) -> list[Flow]:
    return [
        Flow(
            start_us=T0 + n * S,
            dur_us=S // 2,
            src=A,
            dst=B,
            sport=4000 + n,
            dport=80,
            proto="tcp",
            service="http",
            state="SF",
            spkts=5,
            dpkts=4,
            sbytes=1000 + n,
            dbytes=400,
            label=(BENIGN, ATTACK, "")[n % 3],
            site=("north", "south")[n % 2],
        )
        for n in range(number)
    ]


def test_a_capture_becomes_observations(tmp_path: Path) -> None:
    path = tmp_path / "site.pcap"
    path.write_bytes(pcap(FRAMES))
    workload = make({"pcap": str(path)})
    assert workload.name == "network"
    pipeline = workload.open()
    first, second = drain(pipeline)
    assert first.subject == "10.0.0.2:5555>10.0.0.1:22/tcp"
    assert (first.time_us, first.truth, first.source) == (T0 + 2500, None, A)
    assert json.loads(first.detail) == {
        "src": A,
        "dst": B,
        "sport": 5555,
        "dport": 22,
        "proto": "tcp",
        "service": "ssh",
        "state": "SF",
        "spkts": 2,
        "dpkts": 2,
        "sbytes": 80,
        "dbytes": 80,
        "dur_s": 0.0025,
    }
    assert list(first.features) == ["x"]
    assert first.features["x"].shape == (1, len(COLUMNS))
    assert first.features["x"].dtype == np.float32
    assert second.subject == "10.0.0.2:5000>10.0.0.1:53/udp"
    assert pipeline.stats()["packets"] == 5
    assert pipeline.stats()["flows"] == 2
    pipeline.close()
    pipeline.close()


def test_a_truncated_capture_gives_what_it_holds_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap(FRAMES)[:-3])
    pipeline = make({"pcap": path}).open()
    (only,) = drain(pipeline)
    assert only.subject.endswith(":22/tcp")
    assert pipeline.stats()["truncated"] == 1
    # Optional in the contract, so not every pipeline has it.
    assert getattr(pipeline, "problem", "") == f"{path} ends early: the last packet is cut off"


def test_records_bring_the_truth_and_a_site_can_be_picked(tmp_path: Path) -> None:
    path = tmp_path / "sites.csv.gz"
    write_table(path, flows(12))
    pipeline = make({"records": path}).open()
    observations = drain(pipeline, limit=5)
    assert [observation.truth for observation in observations] == [BENIGN, ATTACK, None] * 4
    assert pipeline.stats() == {"flows": 12, "skipped": 0, "ignored": 1, "truncated": 0}
    south = drain(make({"records": path, "site": "south"}).open())
    assert [observation.time_us for observation in south] == [flow.end_us for flow in flows(12)[1::2]]


def test_features_are_those_of_the_order_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(path, flows(150))
    features = FlowFeatures()
    for observation, flow in zip(drain(make({"records": path}).open()), flows(150), strict=True):
        assert np.array_equal(observation.features["x"][0], features.vector(flow))


def test_label_rules_label_a_capture(tmp_path: Path) -> None:
    capture, labels = tmp_path / "site.pcap", tmp_path / "labels.csv"
    capture.write_bytes(pcap(FRAMES))
    labels.write_text("dport,label,attack\n22,attack,guessing\n,benign,\n")
    observations = drain(make({"pcap": capture, "labels": labels}).open())
    assert [observation.truth for observation in observations] == [ATTACK, BENIGN]


def test_flows_come_at_the_pace_of_their_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(path, flows(4))  # they end one second apart
    now = 0.0
    pipeline = NetworkPipeline(RecordSource(path), speed=2.0, monotonic_s=lambda: now)
    seen: list[tuple[float, int]] = []
    for now in (0.0, 0.4, 0.5, 0.51, 1.2, 9.0):
        polled = pipeline.poll(10)
        assert polled is not None
        seen.append((now, len(polled)))
    assert seen == [(0.0, 1), (0.4, 0), (0.5, 1), (0.51, 0), (1.2, 1), (9.0, 1)]
    assert pipeline.poll(10) is None
    pipeline.close()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "give exactly one of pcap, records and interface: none is given"),
        ({"pcap": "a", "records": "b"}, "pcap and records are given"),
        ({"interface": "lo", "speed": 1}, "live traffic has its own pace"),
        ({"pcap": "a", "site": "north"}, "site picks flows of records"),
        ({"pcap": "a", "sped": 1}, "sped: "),
        ({"pcap": "a", "speed": -1}, "speed"),
        ({"pcap": "a", "speed": "fast"}, "speed"),
        ({"pcap": "a", "meter": {"idle_s": 0}}, "meter.idle_s"),
        ({"interface": "a-name-far-too-long-for-linux"}, "interface"),
    ],
)
def test_wrong_options_are_one_clear_message(options: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(options)
    assert reason in caught.value.message


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("notes")
    for options in ({"pcap": text}, {"records": text}, {"pcap": tmp_path / "no"}, {"records": tmp_path / "no"}):
        with pytest.raises(InputError, match=str(tmp_path)):
            make(options).open()
    with pytest.raises((WorldError, ConfigurationError), match="nervure-no-such"):
        make({"interface": "nervure-no-such"[:15]}).open()


def test_rows_fit_the_model_that_runs() -> None:
    vector = FlowFeatures().vector(flows(1)[0])
    some = ("sbytes", "dur", "proto=tcp")
    models: list[tuple[ModelInput, ...]] = [
        (),
        (ModelInput("input", "float32", (None, len(COLUMNS))),),
        (ModelInput("part", "float32", (None, 3), some),),
        (ModelInput("input", "float32", (None, None)),),
    ]
    picked = np.array([1000.0, 0.5, 1.0], dtype=np.float32)
    running = iter(models)
    binding = RowBinding(lambda: next(running))
    for name, expected in (("x", vector), ("input", vector), ("part", picked), ("input", vector)):
        ((found, row),) = binding.bind(vector).items()
        assert found == name
        assert np.array_equal(row[0], expected)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ((ModelInput("a", "float32", (None, 1)), ModelInput("b", "float32", (None, 1))), "wants a, b"),
        ((ModelInput("x", "int64", (None, len(COLUMNS))),), "wants x"),
        ((ModelInput("x", "float32", (None, 3)),), "it wants 3 columns"),
        ((ModelInput("x", "float32", (None, 1), ("ttl",)),), "there is no column 'ttl'"),
    ],
)
def test_models_that_take_no_flows(inputs: tuple[ModelInput, ...], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        RowBinding(lambda: inputs).bind(FlowFeatures().vector(replace(flows(1)[0], sport=1)))
