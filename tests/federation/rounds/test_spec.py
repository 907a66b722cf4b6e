"""What users write is validated whole, and every mistake is named with what was found."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nervure_core.errors import ConfigurationError, InputError
from nervure_federation.recipes import about, load_recipe, merged, overlaid, recipe_names
from nervure_federation.rounds.spec import RunSpec, parse_spec
from nervure_federation.strategies import KINDS, STATEFUL, plan_strategy


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "flows", "round": 3}, "round: unknown key"),
        ({"model": "flows", "rounds": 0}, "rounds: found 0"),
        ({"model": "flows", "rounds": "many"}, "rounds: found 'many'"),
        ({"rounds": 3}, "model: required"),
        ({"model": "Flows!"}, "model 'Flows!' is not a name"),
        ({"model": "flows", "strategy": "fedfoo"}, "no strategy named 'fedfoo'"),
        ({"model": "flows", "strategy": "fedadam"}, "keeps state between rounds"),
        ({"model": "flows", "strategy": "fedavg", "options": {"mu": 1}}, "fedavg has no option 'mu'"),
        ({"model": "flows", "strategy": "fedprox", "options": {"mu": -1}}, "mu must be from 0.0"),
        ({"model": "flows", "strategy": "krum", "options": {"liars": 1.5}}, "liars must be a whole number"),
        ({"model": "flows", "lr": float("nan")}, "lr: found nan"),
        ({"model": "flows", "min_agents": 5, "max_agents": 2}, r"max_agents \(2\) is below min_agents \(5\)"),
        ({"model": "flows", "judge": None, "baseline_local": True}, "baseline_local needs a judge"),
        ({"model": "flows", "judge": {"min_f2": 1}}, "judge.min_f2: unknown key"),
        (["model"], "expected a mapping of settings, found list"),
    ],
)
def test_mistakes_are_named(settings: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_spec(settings)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"my-run: .*rounds: .*; epochs: "):
        parse_spec({"model": "flows", "rounds": 0, "epochs": -1}, where="my-run")


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_valid_and_say_what_they_are_for(name: str) -> None:
    settings = load_recipe(name)
    assert isinstance(parse_spec({"model": "flows", **settings}), RunSpec)
    assert about(name).endswith((".", "can train at all.", "lie."))


def test_settings_change_a_recipe() -> None:
    spec = merged({"recipe": "fedprox", "model": "flows", "rounds": 3, "judge": {"min_f1": 0.5}})
    assert (spec.rounds, spec.options, spec.strategy) == (3, {"mu": 0.01}, "fedprox")
    assert spec.judge is not None
    assert (spec.judge.min_f1, spec.judge.max_worst_site_fpr_increase) == (0.5, 0.02)
    # Another strategy has other options.
    assert merged({"recipe": "fedprox", "model": "flows", "strategy": "fedavg"}).options == {}
    assert overlaid({"strategy": "krum", "options": {"liars": 1}}, {"options": {"liars": 2}})["options"] == {"liars": 2}


def test_recipes_that_are_not_there_or_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no recipe named 'nope'"):
        merged({"recipe": "nope", "model": "flows"})
    with pytest.raises(ConfigurationError, match="no recipe named"):
        merged({"recipe": ["demo"], "model": "flows"})
    with pytest.raises(InputError, match="No such file"):
        load_recipe(str(tmp_path / "absent.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(InputError, match="not YAML"):
        load_recipe(str(broken))
    broken.write_text("- 1")
    with pytest.raises(InputError, match="found list"):
        load_recipe(str(broken))


def test_a_specification_survives_the_store() -> None:
    spec = merged({"recipe": "demo"})
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec
    assert parse_spec(yaml.safe_load(yaml.safe_dump(spec.model_dump(mode="json")))) == spec


def test_strategies_that_keep_state_are_refused_by_name() -> None:
    assert not STATEFUL & KINDS.keys()
    for name in STATEFUL:
        with pytest.raises(ConfigurationError, match="keeps state"):
            plan_strategy(name, {})


@pytest.mark.parametrize(
    ("name", "liars", "needed"), [("krum", 1, 5), ("multikrum", 2, 7), ("bulyan", 1, 7), ("krum", 0, 1)]
)
def test_robust_strategies_ask_for_enough_replies(name: str, liars: int, needed: int) -> None:
    assert plan_strategy(name, {"liars": liars}).replies_needed == needed
