"""Small real bundles, and agents over a table of rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest

from nervure_core.bundle import Bundle, TrainingSpec
from nervure_edge.config import AgentConfig
from nervure_federation.models import Purpose, build_bundle

COLUMNS = ("a", "b", "c")
MODEL = """<ir_version: 9, opset_import: ["" : 17]>
net (float[N, 3] x) => (float[N, 2] probabilities)
<float[3, 2] w = {%s}, float[2] bias = {0, 0}>
{ s = Gemm(x, w, bias)  probabilities = Softmax<axis = -1>(s) }"""
ATTACK_IS_POSITIVE_A = "-4, 4, 0, 0, 0, 0"
ATTACK_IS_NEGATIVE_A = "4, -4, 0, 0, 0, 0"

BundleMaker = Callable[..., Bundle]
ConfigMaker = Callable[..., AgentConfig]


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> BundleMaker:
    """Bundles that find an attack where column a is above zero, or below for an inverted one."""

    def make(*, release: int = 1, inverted: bool = False, name: str = "flows", optimizer: str = "adam") -> Bundle:
        weights = ATTACK_IS_NEGATIVE_A if inverted else ATTACK_IS_POSITIVE_A
        return build_bundle(
            tmp_path_factory.mktemp("bundle") / "model",
            onnx.parser.parse_model(MODEL % weights),
            Purpose(name, ("benign", "attack"), "benign", columns=COLUMNS),
            probe={"x": np.zeros((4, 3), np.float32)},
            training=TrainingSpec(optimizer=optimizer, stateful=optimizer == "adam", learning_rate=0.05),
            release=release,
        )

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle: BundleMaker) -> Bundle:
    return make_bundle()


def write_rows(path: Path, count: int, *, seed: int = 7, label: bool = True) -> Path:
    """Write labelled rows; an attack where a > 0."""
    rng = random.Random(seed)
    lines = ["a,b,c,label" if label else "a,b,c"]
    for _ in range(count):
        a, b, c = (rng.uniform(-1, 1) for _ in range(3))
        lines.append(f"{a:.4f},{b:.4f},{c:.4f}" + (f",{'attack' if a > 0 else 'benign'}" if label else ""))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.csv", 1000)


@pytest.fixture
def make_config(tmp_path: Path, rows: Path) -> ConfigMaker:
    """Configurations of fast agents over ``rows``."""

    def make(*hubs: str, **changes: Any) -> AgentConfig:
        options = {"input": str(rows), "label": "label", **changes.pop("options", {})}
        values: dict[str, Any] = {
            "agent_id": "agent-1",
            "data": tmp_path / "data",
            "hubs": hubs,
            "workload": {"name": "table", "options": options},
            "spool": {"flush_interval_ms": 10, "sync_interval_ms": 5, **changes.pop("spool", {})},
            "session": {"backoff_base_s": 0.05, "backoff_cap_s": 0.2, **changes.pop("session", {})},
        }
        return AgentConfig.model_validate({**values, **changes})

    return make
