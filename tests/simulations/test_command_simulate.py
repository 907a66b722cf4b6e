"""``nervure simulate`` at its edges: what it lists, what it refuses, and that it touches no folder of others."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nervure_core.errors import ConfigurationError
from nervure_simulations.commands import simulate
from nervure_simulations.fleet.folder import MARK, prepare_folder


def test_the_list_names_scenarios_for_people_and_programs() -> None:
    human = CliRunner().invoke(simulate, ["--list"])
    assert "three-regions" in human.output
    rows = json.loads(CliRunner().invoke(simulate, ["--list", "--json"]).output)
    assert [row["name"] for row in rows] == ["iot-23", "one-region", "three-regions"]


def test_help_has_an_example() -> None:
    assert "nervure simulate three-regions --out out/demo" in CliRunner().invoke(simulate, ["--help"]).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no scenario is given"),
        (["four-regions"], "there is no scenario 'four-regions'"),
        (["./gone.yaml"], "gone.yaml: can't be read"),
        (["three-regions", "--rounds", "0"], "learning.rounds"),
        (["iot-23"], "captures that are not shipped"),
        (["three-regions", "--agents", "2"], "each needs at least one agent"),
    ],
)
def test_mistakes_are_told_before_anything_starts(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CliRunner().invoke(simulate, arguments, catch_exceptions=False)
    assert message in caught.value.message


def test_a_folder_that_no_run_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigurationError, match="no run of a simulation made"):
        prepare_folder(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_folder_of_an_earlier_run_is_emptied(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_folder(out)
    (out / "logs").mkdir()
    (out / "report.json").write_text("{}")
    (out / "link").symlink_to(tmp_path)
    prepare_folder(out)
    assert [entry.name for entry in out.iterdir()] == [MARK]
    assert tmp_path.is_dir()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigurationError, match="is a file"):
        prepare_folder(tmp_path / "out")
