"""From outputs to decisions, row by row and in batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.bundle.manifest import DecisionKind, DecisionSpec
from nervure_edge.decision import UnusableOutputError, make_decider, scores

LABELS = ("benign", "scan", "flood")


def spec(kind: DecisionKind, threshold: float = 0.5, block: float | None = None) -> DecisionSpec:
    return DecisionSpec(output="o", kind=kind, threshold=threshold, block_threshold=block)


def test_softmax_scores_not_being_benign_and_names_the_best_finding() -> None:
    decide = make_decider(spec(DecisionKind.SOFTMAX, block=0.8), LABELS, "benign")
    found = decide(np.array([[0.4, 0.35, 0.25]], np.float32))
    assert (found.label, found.positive, found.may_block) == ("scan", True, False)
    assert found.score == pytest.approx(0.6)
    assert decide(np.array([[0.6, 0.3, 0.1]], np.float32)).label == "benign"
    assert decide(np.array([[0.1, 0.3, 0.6]], np.float32)).may_block


def test_softmax_without_a_benign_label_takes_the_best() -> None:
    decide = make_decider(spec(DecisionKind.SOFTMAX, 0.7), ("a", "b"), None)
    assert decide(np.array([[0.2, 0.8]], np.float32))[:1] == ("b",)
    assert not decide(np.array([[0.6, 0.4]], np.float32)).positive


def test_sigmoid_label_and_raw() -> None:
    sigmoid = make_decider(spec(DecisionKind.SIGMOID), ("ok", "bad"), "ok")
    assert sigmoid(np.array([[0.9]], np.float32)).label == "bad"
    assert sigmoid(np.array([0.1], np.float32)).label == "ok"
    label = make_decider(spec(DecisionKind.LABEL), LABELS, "benign")
    assert label(np.array([2], np.int64)).label == "flood"
    assert label(np.array(["benign"], object)).positive is False
    assert label(np.array([b"scan"], object)).label == "scan"
    assert label(np.array([99], np.int64)).label == "99"
    raw = make_decider(spec(DecisionKind.RAW, 0.5), (), None)
    assert raw(np.array([[0.75]], np.float32)) == ("value", 0.75, True, False)


@pytest.mark.parametrize("kind", [DecisionKind.SOFTMAX, DecisionKind.SIGMOID, DecisionKind.RAW])
def test_not_a_number_is_never_benign(kind: DecisionKind) -> None:
    decide = make_decider(spec(kind), ("benign", "attack"), "benign")
    with pytest.raises(UnusableOutputError):
        decide(np.array([[np.nan, np.nan]], np.float32))
    with pytest.raises(UnusableOutputError):
        scores(np.array([[np.nan, np.nan]], np.float32), spec(kind), ("benign", "attack"), "benign")


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(UnusableOutputError, match="2 probabilities for 3"):
        make_decider(spec(DecisionKind.SOFTMAX), LABELS, "benign")(np.array([[0.5, 0.5]], np.float32))


@given(
    st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=20),
    st.sampled_from([None, *LABELS]),
    st.floats(0, 1),
)
def test_batches_and_rows_agree(rows: list[list[float]], benign: str | None, threshold: float) -> None:
    output = np.array(rows, np.float32)
    rules = spec(DecisionKind.SOFTMAX, threshold)
    decide = make_decider(rules, LABELS, benign)
    found = scores(output, rules, LABELS, benign)
    single = [decide(output[index : index + 1]) for index in range(len(output))]
    np.testing.assert_allclose(found, [decision.score for decision in single])
    assert [bool(value) for value in found >= threshold] == [decision.positive for decision in single]
