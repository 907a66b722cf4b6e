"""The hub's settings: every source, every fault named."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from nervure_core.errors import ConfigurationError
from nervure_hub.config import load_config


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text('region = "europe"\nport = 1\ngateways = 3\n[gateway]\nheartbeat_s = 9.0\n')
    environment = {"NERVURE_HUB__PORT": "2", "NERVURE_HUB__ETCD": "a:1,b:2", "NERVURE_HUB__GATEWAY__HEARTBEAT_S": "2"}
    config = load_config({"port": 3, "api_port": None}, file=file, environment=environment)
    assert (config.port, config.gateways, config.etcd, config.gateway.heartbeat_s) == (3, 3, ("a:1", "b:2"), 2.0)
    assert config.coordination_url == "etcd://a:1,b:2"
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({}, "region"),
        ({"region": ""}, "region"),
        ({"region": "europe", "prt": 1}, "prt: unknown key"),
        ({"region": "europe", "port": "x"}, "port: found 'x'"),
        ({"region": "europe", "gateway": {"credit_bytes": 5}}, "gateway.credit_bytes"),
        ({"region": "europe", "port": 7444}, "7444"),
        ({"region": "europe", "hubs": ["nowhere"]}, "not host:port"),
        ({"region": "europe", "tls_key": "k.pem"}, "go together"),
        ({"region": "europe", "host": "0.0.0.0"}, "clear"),
        ({"region": "europe", "in_process": True, "ray_address": "a:1"}, "contradicts"),
    ],
)
def test_faults_are_named(flags: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_config(flags)


def test_what_agents_are_told() -> None:
    assert load_config({"region": "europe"}).advertised(5) == "127.0.0.1:5"
    assert load_config({"region": "europe", "advertise": "eu.example:9"}).advertised(5) == "eu.example:9"
    assert not load_config({"region": "europe", "host": "0.0.0.0", "clear": True}).advertised(5).startswith("0.")
