"""``nervure sites``: files as a newcomer gets them, and the same model as the demo's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from nervure_core.bundle import TRAIN, read_bundle
from nervure_core.errors import ConfigurationError, InputError, NervureError, WorldError
from nervure_edge.network.records.flow_table import read_table
from nervure_federation.heldout import check_sets, read_heldout
from nervure_simulations.fleet.learning import make_starting_bundle
from nervure_simulations.fleet.plan import plan_fleet
from nervure_simulations.fleet.traffic import prepare_traffic
from nervure_simulations.scenarios import load_scenario
from nervure_simulations.sites import heldout_arrays, load_sites
from nervure_simulations.sites.command import SCENARIO, sites

SITES = load_sites()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(sites, list(arguments), standalone_mode=False)


def test_sites_are_listed() -> None:
    table = call("list").output.splitlines()
    assert len(table) == len(SITES) + 2
    assert "syn_scan" in next(line for line in table if line.startswith("americas-01 "))
    rows = json.loads(call("list", "--json").output)
    assert [row["site"] for row in rows] == [site.name for site in SITES]
    assert all(row["agent_flows"] + row["held_out_flows"] == row["flows"] for row in rows)


def test_an_export_is_what_the_sites_agent_may_see(tmp_path: Path) -> None:
    path = tmp_path / "new" / "site.csv.gz"
    result = call("export", "europe-01", "--out", str(path))
    assert result.exception is None, result.exception
    site = next(site for site in SITES if site.name == "europe-01")
    assert list(read_table(path)) == site.learning_flows()
    assert f"wrote {site.train_rows} flows of europe-01" in result.output


def test_all_sites_are_exported(tmp_path: Path) -> None:
    rows = json.loads(call("export", "--all", "--out", str(tmp_path / "sites"), "--json").output)
    assert {path.name for path in (tmp_path / "sites").iterdir()} == {f"{site.name}.csv.gz" for site in SITES}
    assert {row["site"]: row["flows"] for row in rows} == {site.name: site.train_rows for site in SITES}


def test_the_model_made_by_hand_is_the_demos(tmp_path: Path) -> None:
    scenario = load_scenario(SCENARIO)
    name = scenario.learning.model
    assert call("model", "--out", str(tmp_path / "hand"), "--name", name).exception is None
    traffic = prepare_traffic(
        plan_fleet(scenario),
        SITES,
        tmp_path / "traffic",
        start_us=10**15,
        **scenario.traffic.model_dump(exclude={"needs_data"}),
        starting_flows=scenario.learning.starting_flows,
    )
    demo = make_starting_bundle(scenario, traffic, tmp_path / "demo")
    assert read_bundle(tmp_path / "hand").bundle_id == demo.bundle_id


def test_the_model_can_be_trained(tmp_path: Path) -> None:
    data = json.loads(call("model", "--out", str(tmp_path / "new" / "model"), "--json").output)
    bundle = read_bundle(Path(data["folder"]))
    assert (bundle.manifest.name, bundle.bundle_id) == ("flows", data["bundle_id"])
    assert bundle.has(TRAIN)
    assert bundle.manifest.lineage.note == f"{data['flows']} flows of {data['region']}"


def test_held_out_sets_are_what_no_agent_sees(tmp_path: Path) -> None:
    result = call("heldout", "--out", str(tmp_path))
    assert result.exception is None, result.exception
    files = {f"{path.parent.name}/{path.stem}": path.read_bytes() for path in tmp_path.glob("*/*.npz")}
    assert len(check_sets(files)) == len(SITES)
    for region, found in heldout_arrays(SITES[:3]).items():
        for site, (x, y) in found.items():
            read_x, read_y = read_heldout(files[f"{region}/{site}"], site)
            np.testing.assert_array_equal(read_x, x)
            np.testing.assert_array_equal(read_y, y)


@pytest.mark.parametrize(
    ("arguments", "family", "said"),
    [
        (["export", "nowhere-1", "--out", "x"], InputError, "no site named 'nowhere-1'"),
        (["export", "--out", "x"], ConfigurationError, "no site is given"),
        (["export", "asia-01", "--all", "--out", "x"], ConfigurationError, "contradict"),
        (["export", "asia-01", "--out", "."], ConfigurationError, "is a folder"),
        (["export", "asia-01", "--out", "file/x.csv"], WorldError, "file: "),
        (["model", "--out", "."], InputError, "is there already"),
        (["model", "--out", "x", "--name", "Not This"], ConfigurationError, "'Not This' is not a name"),
        (["heldout", "--out", "file"], WorldError, "file/americas: "),
    ],
)
def test_mistakes_are_one_clear_error_and_leave_nothing(
    arguments: list[str],
    family: type[NervureError],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("not a folder")
    result = call(*arguments)
    assert isinstance(result.exception, family), result.exception
    assert said in result.exception.message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, nervure_simulations.sites.command;"
        "found = {'ray', 'flwr', 'onnx', 'onnxruntime', 'pyarrow', 'fastapi', 'rich'} & sys.modules.keys();"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
