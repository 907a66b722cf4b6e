"""Configuration: where it comes from, and that every fault is named with what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nervure_core.command import cli
from nervure_core.errors import ConfigurationError
from nervure_edge.commands.agent import load
from nervure_edge.config import AgentConfig
from nervure_edge.config_sources import load_config

NEEDED = {"agent_id": "porch-1", "data": "d"}


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('agent_id = "file"\ndata = "d"\nregion = "file"\n[spool]\nquota_mib = 5\nflush_events = 7\n')
    environment = {"NERVURE_AGENT__REGION": "env", "NERVURE_AGENT__SPOOL__QUOTA_MIB": "6", "OTHER": "x"}
    config = load_config(file, environment, {"region": "flag", "labels": None})
    assert (config.agent_id, config.region, config.spool.quota_mib, config.spool.flush_events) == ("file", "flag", 6, 7)


def test_lists_and_tables_from_the_environment() -> None:
    environment = {
        "NERVURE_AGENT__HUBS": "a:1, b:2",
        "NERVURE_AGENT__LABELS": "site=porch,floor=2",
        "NERVURE_AGENT__WORKLOAD__OPTIONS": '{"input": "rows.csv"}',
    }
    config = load_config(None, environment, NEEDED)
    assert config.hubs == ("a:1", "b:2")
    assert config.labels == {"site": "porch", "floor": "2"}
    assert config.workload.options == {"input": "rows.csv"}


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"spool": {"quota_mb": 5}}, ["spool.quota_mb"]),
        ({"spool": {"quota_mib": "lots"}}, ["spool.quota_mib", "'lots'", "integer"]),
        ({"spool": {"quota_mib": 0}}, ["spool.quota_mib", "0"]),
        ({"spool": {"quota_mib": 1, "segment_kib": 512}}, ["segment_kib 512", "quota_mib 1"]),
        ({"session": {"backoff_base_s": 60, "backoff_cap_s": 1}}, ["backoff_base_s 60", "backoff_cap_s 1"]),
        ({"session": {"ca_file": "ca.pem"}}, ["ca_file", "certificate_file", "go together"]),
        ({"hubs": ["localhost"]}, ["hubs", "'localhost' is not host:port"]),
        ({"agent_id": "Not A Name"}, ["agent_id", "Not A Name"]),
        ({"labels": "porch"}, ["labels", "key=value"]),
        ({"response": {"mode": "shoot"}}, ["response.mode", "'shoot'"]),
        ({"spool": {"quota_mib": -1}, "region": "?"}, ["spool.quota_mib", "region"]),
    ],
)
def test_every_fault_is_named(flags: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_config(None, {}, {**NEEDED, **flags})
    assert all(part in caught.value.message for part in parts), caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml", {}, NEEDED)
    bad = tmp_path / "bad.toml"
    bad.write_text("[spool]\nquota_mib = = 1\n")
    with pytest.raises(ConfigurationError, match="line"):
        load_config(bad, {}, NEEDED)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pcap": "a", "records": "b"}, "--pcap and --records contradict"),
        ({"labels": ("porch",)}, "KEY=VALUE"),
        ({"workload": "network", "input_": "rows.csv"}, "senses flows"),
        ({"options": ("columns=[1",)}, "no JSON"),
    ],
)
def test_flags_that_contradict_each_other(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(None, given)


def test_sources_imply_their_workload() -> None:
    assert load(None, {"pcap": "x.pcap"}).workload.name == "network"
    config = load(None, {"input_": "-", "options": ('columns=["a"]', "label=l"), "agent_id": "a", "data": "d"})
    assert config.workload.name == "table"
    assert config.workload.options == {"columns": ["a"], "label": "l", "input": "-"}


def test_show_prints_a_file_that_loads_again(tmp_path: Path) -> None:
    shown = CliRunner().invoke(cli, ["agent", "config", "--show", "--id", "a", "--data", "d"])
    assert shown.exit_code == 0, shown.output
    file = tmp_path / "agent.toml"
    file.write_text(shown.output)
    assert load_config(file, {}, {}) == AgentConfig.model_validate({"agent_id": "a", "data": "d"})
    checked = CliRunner().invoke(cli, ["agent", "config", "--check", "--config", str(file), "--json"])
    assert json.loads(checked.output)["valid"] is True


def test_the_default_configuration_is_bounded_everywhere() -> None:
    """Whatever is a number in the configuration has a lower bound: nothing can be switched to unbounded by -1."""
    schema = AgentConfig.model_json_schema()
    for name, part in schema["$defs"].items():
        for key, rule in part["properties"].items():
            if rule.get("type") in ("integer", "number"):
                assert "minimum" in rule or "exclusiveMinimum" in rule, f"{name}.{key}"
                assert "maximum" in rule, f"{name}.{key}"
