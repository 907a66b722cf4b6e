"""The shipped sites are what their index and the data card say; other folders are read with clear errors."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.errors import InputError
from nervure_core.files import sha256_file
from nervure_edge.network.flow import Flow
from nervure_edge.network.flow_v1 import COLUMNS
from nervure_simulations.ranges.catalogue import ATTACKS, REGIONS
from nervure_simulations.sites import (
    DATA_FOLDER,
    Site,
    SiteDamaged,
    heldout_arrays,
    load_iot23,
    load_sites,
    training_arrays,
)
from nervure_simulations.sites.site import cut_by_time

SITES = load_sites()


def test_thirty_sites_ten_a_region_and_many_kinds_of_attack() -> None:
    assert Counter(site.region for site in SITES) == dict.fromkeys(REGIONS, 10)
    assert {kind for site in SITES for kind in site.attacks} == set(ATTACKS)


def test_what_is_shipped_is_small() -> None:
    assert sum(path.stat().st_size for path in DATA_FOLDER.iterdir()) < 3_000_000


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_a_table_is_what_the_index_says(site: Site) -> None:
    row = next(row for row in _index(DATA_FOLDER)["sites"] if row["site"] == site.name)
    flows = site.flows()
    assert sha256_file(site.path) == row["sha256"]
    assert Counter(flow.attack or "benign" for flow in flows) == row["counts"]
    assert all((flow.label == "attack") == bool(flow.attack) for flow in flows)
    assert {flow.site for flow in flows} == {site.name}
    assert row["split"]["train_rows"] + row["split"]["held_out_rows"] == len(flows) == site.rows
    assert 100 <= len(flows) <= 900
    assert 0.4 <= row["benign"] / len(flows) <= 0.9


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_both_parts_have_every_kind_and_time_divides_them(site: Site) -> None:
    learning, held_out = site.learning_flows(), site.held_out_flows()
    assert max(flow.end_us for flow in learning) <= min(flow.end_us for flow in held_out)
    for part in (learning, held_out):
        assert {flow.attack for flow in part} == {"", *site.attacks}


def test_the_data_card_says_the_same(root: Path) -> None:
    card = (root / "docs" / "data-card.md").read_text()
    for row in _index(DATA_FOLDER)["sites"]:
        attacks = ", ".join(f"{kind} {count}" for kind, count in row["counts"].items() if kind != "benign")
        split = f"{row['split']['train_rows']} / {row['split']['held_out_rows']}"
        line = next(line for line in card.splitlines() if line.startswith(f"| {row['site']} |"))
        assert f"| {row['benign']} | {attacks} | {split} |" in line


def test_reference_sites_are_held_out_whole() -> None:
    references = load_sites(role="reference")
    assert {site.name for site in references} == {"reference-lab", "reference-zeek"}
    assert all(site.train_rows == 0 for site in references)
    assert "BSD" in (DATA_FOLDER / "NOTICE.md").read_text()


def test_arrays_are_the_two_sides_of_the_cut() -> None:
    sites = SITES[:2] + SITES[-1:]
    held_out, learning = heldout_arrays(sites), training_arrays(sites)
    for site in sites:
        x, y = held_out[site.region][site.name]
        before = learning[site.region][site.name][0]
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert x.shape == (site.rows - site.train_rows, len(COLUMNS))
        assert len(before) == site.train_rows
        assert np.isfinite(x).all()
        assert set(np.unique(y)) == {0, 1}


def test_counters_go_on_over_the_cut() -> None:
    site = SITES[0]
    x, _ = heldout_arrays([site])[site.region][site.name]
    # A counter that started from nothing at the cut would be 1 in the first row of every column.
    assert x[0, COLUMNS.index("ct_src_ltm")] + x[1, COLUMNS.index("ct_src_ltm")] > 2


def test_an_agent_gets_only_what_it_may_learn_from(tmp_path: Path) -> None:
    site = SITES[3]
    path = tmp_path / "replay.csv.gz"
    assert site.write_learning_table(path) == site.train_rows
    copy = Site(site.name, site.region, path, site.attacks, site.train_rows, site.train_rows)
    assert copy.flows() == site.learning_flows()


@given(st.lists(st.integers(min_value=0, max_value=20), max_size=60), st.floats(min_value=0.0, max_value=1.0))
def test_a_cut_never_divides_one_moment(ends: list[int], share: float) -> None:
    flows = [_flow(end) for end in sorted(ends)]
    cut = cut_by_time(flows, share)
    assert 0 <= cut <= len(flows)
    if 0 < cut < len(flows):
        assert flows[cut - 1].end_us < flows[cut].end_us


def test_a_changed_table_is_named(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    (folder / f"{SITES[0].name}.csv.gz").write_bytes(b"x")
    with pytest.raises(SiteDamaged, match="has changed") as caught:
        load_sites(folder)
    assert caught.value.site == SITES[0].name


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    (folder / f"{SITES[0].name}.csv.gz").unlink()
    with pytest.raises(SiteDamaged, match="not there"):
        load_sites(folder)


@pytest.mark.parametrize("text", [None, "", "[]", '{"format": 99, "sites": []}', '{"format": 1, "sites": [{}]}'])
def test_a_folder_without_a_good_index_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "index.json").write_text(text)
    with pytest.raises(InputError, match="not an index of sites"):
        load_sites(tmp_path)


def test_iot23_captures_are_sites(shared_data: Path) -> None:
    sites = load_iot23(shared_data / "iot-23")
    assert len(sites) == 9
    assert sum(site.rows for site in sites) == 46_662
    assert all(0.69 < site.train_rows / site.rows < 0.75 for site in sites)


def test_a_folder_without_captures_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no labelled captures"):
        load_iot23(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        load_iot23(tmp_path / "nowhere")


def _index(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "index.json").read_text())
    return document


def _copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA_FOLDER, tmp_path / "flows"))


def _flow(end: int) -> Flow:
    return Flow(
        start_us=0, dur_us=end, src="10.0.0.1", dst="10.0.0.2", sport=1, dport=2, proto="tcp", service="-", state="SF",
        spkts=1, dpkts=1, sbytes=40, dbytes=40,
    )  # fmt: skip
