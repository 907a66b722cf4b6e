"""Nothing that could poison a sum gets past the gatekeeper, and what gets past is not changed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nervure_federation.gatekeeper import Refusal, Rules, TensorRule, Update, admit, sift

TENSORS = {"w": TensorRule((3, 2), "float32"), "b": TensorRule((2,), "float32"), "n": TensorRule((), "int64")}
RULES = Rules(TENSORS, {name: f"run/1/train/{name}" for name in ("a", "b", "c")}, max_examples=1000)


def good(agent: str = "a", **changes: Any) -> Update:
    arrays: dict[str, Any] = {
        "w": np.ones((3, 2), np.float32),
        "b": np.zeros(2, np.float32),
        "n": np.array(4, np.int64),
    }
    arrays.update(changes.pop("arrays", {}))
    metrics = {"num-examples": 10, "train-loss": 0.5, **changes.pop("metrics", {})}
    return Update(agent, changes.pop("task_id", f"run/1/train/{agent}"), arrays, metrics)


def rule_of(update: Update) -> str:
    outcome = admit(update, RULES)
    return outcome.rule if isinstance(outcome, Refusal) else ""


def test_a_good_update_passes_unchanged() -> None:
    (passed,) = sift([good()], RULES).accepted
    assert passed.examples == 10
    for name, array in good().arrays.items():
        np.testing.assert_array_equal(passed.arrays[name], array)
        assert passed.arrays[name].dtype == array.dtype


@pytest.mark.parametrize(
    ("update", "rule"),
    [
        (good(task_id="run/0/train/a"), "wrong-round"),
        (good("stranger"), "wrong-round"),
        (good(arrays={"extra": np.zeros(1, np.float32)}), "keys"),
        (Update("a", "run/1/train/a", {}, {"num-examples": 1}), "keys"),
        (good(arrays={"w": np.ones((2, 3), np.float32)}), "shape"),
        (good(arrays={"n": np.zeros((1,), np.int64)}), "shape"),
        (good(arrays={"w": np.ones((3, 2), np.complex64)}), "dtype"),
        (good(arrays={"w": np.full((3, 2), "1.0")}), "dtype"),
        (good(arrays={"n": np.array(4.0, np.float64)}), "dtype"),
        (good(arrays={"w": np.full((3, 2), np.nan, np.float32)}), "finite"),
        (good(arrays={"b": np.array([np.inf, 0], np.float32)}), "finite"),
        (good(arrays={"b": np.array([1e300, 0], np.float64)}), "finite"),
        (good(metrics={"num-examples": 0}), "examples"),
        (good(metrics={"num-examples": -5}), "examples"),
        (good(metrics={"num-examples": 1e9}), "examples"),
        (good(metrics={"num-examples": 1.5}), "examples"),
        (good(metrics={"num-examples": math.nan}), "examples"),
        (good(metrics={"num-examples": math.inf}), "examples"),
        (good(metrics={"num-examples": True}), "examples"),
        (good(metrics={"num-examples": [3]}), "examples"),
        (good(metrics={"train-loss": math.nan}), "metrics"),
    ],
)
def test_each_law_refuses_and_names_the_agent(update: Update, rule: str) -> None:
    sifted = sift([update], RULES)
    assert sifted.accepted == ()
    (refusal,) = sifted.refused
    assert (refusal.agent_id, refusal.rule) == (update.agent_id, rule)
    assert refusal.reason
    assert str(refusal).startswith(f"{update.agent_id}: {rule}: ")


def test_float64_comes_back_as_the_manifest_says() -> None:
    (passed,) = sift([good(arrays={"w": np.full((3, 2), 0.1, np.float64)})], RULES).accepted
    assert passed.arrays["w"].dtype == np.float32


def test_the_first_of_two_updates_counts() -> None:
    sifted = sift([good(metrics={"train-loss": 1.0}), good(metrics={"train-loss": 2.0})], RULES)
    assert [update.metrics["train-loss"] for update in sifted.accepted] == [1.0]
    assert [refusal.rule for refusal in sifted.refused] == ["duplicate"]


def test_only_metrics_that_all_have_are_kept() -> None:
    # Flower raises out of the aggregation when one reply has other keys.
    sifted = sift([good("a", metrics={"extra": 1}), good("b", metrics={"list": [1, 2]})], RULES)
    assert [list(update.metrics) for update in sifted.accepted] == [["num-examples", "train-loss"]] * 2


@given(st.permutations(["a", "b", "c"]))
def test_the_order_of_arrival_does_not_matter(order: list[str]) -> None:
    updates = [good(name) for name in order]
    assert [update.agent_id for update in sift(updates, RULES).accepted] == ["a", "b", "c"]


FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(hnp.arrays(np.float32, (3, 2), elements=FLOATS))
def test_what_passes_is_finite_and_equal_and_all_that_is_finite_passes(values: np.ndarray) -> None:
    outcome = admit(good(arrays={"w": values}), RULES)
    if np.isfinite(values).all():
        assert isinstance(outcome, Update)
        np.testing.assert_array_equal(outcome.arrays["w"], values)
    else:
        assert rule_of(good(arrays={"w": values})) == "finite"


@given(
    hnp.arrays(
        st.sampled_from(
            [np.dtype(name) for name in ("bool", "int8", "uint64", "float16", "float64", "complex64", "U3")]
        ),
        hnp.array_shapes(min_dims=0, max_dims=3, max_side=3),
    ),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers())),
)
def test_whatever_is_sent_is_either_refused_or_fits(values: np.ndarray, examples: Any) -> None:
    outcome = admit(good(arrays={"w": values}, metrics={"num-examples": examples}), RULES)
    if isinstance(outcome, Update):
        assert 1 <= outcome.examples <= 1000
        assert outcome.arrays["w"].shape == (3, 2)
        assert outcome.arrays["w"].dtype == np.float32
        assert np.isfinite(outcome.arrays["w"]).all()
