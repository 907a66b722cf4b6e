"""What a judge counts, and what it lets through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import parser

from nervure_core.bundle import Bundle, DecisionKind, pack_onnx
from nervure_core.errors import InputError
from nervure_federation.judge import Counts, Policy, Verdict, accept, judge, judge_weights
from nervure_federation.models import Purpose, build_bundle

MODEL = """<ir_version: 9, opset_import: ["" : 17]>
net (float[N, 2] x) => (float[N, 2] p) <float[2, 2] w = {1, 0, 0, 1}> { s = MatMul(x, w) p = Softmax(s) }"""
"""Benign where the first column is the larger one."""

BENIGN, ATTACK = [1.0, 0.0], [0.0, 1.0]
counts = st.builds(Counts, *[st.integers(0, 1000)] * 4)


def bundle(folder: Path, *, benign_label: str | None = "benign", threshold: float = 0.5) -> Bundle:
    purpose = Purpose(name="flows", labels=("benign", "attack"), benign_label=benign_label, threshold=threshold)
    return build_bundle(folder / "b", parser.parse_model(MODEL), purpose, probe={"x": np.eye(2, dtype=np.float32)})


def rows(*given: tuple[list[float], int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return np.array([x for x, _ in given], np.float32), np.array([y for _, y in given], np.int64)


def test_it_counts_per_site(tmp_path: Path) -> None:
    heldout = {
        "home": rows((BENIGN, 0), (BENIGN, 0), (ATTACK, 0), (ATTACK, 1)),
        "mill": rows((BENIGN, 1), (ATTACK, 1), (BENIGN, 0)),
        "idle": (np.zeros((0, 2), np.float32), np.zeros(0, np.int64)),
    }
    verdict = judge(bundle(tmp_path), heldout, least_benign=1)
    assert verdict.sites == {"home": Counts(1, 1, 2, 0), "mill": Counts(1, 0, 1, 1), "idle": Counts()}
    assert verdict.counts == Counts(2, 1, 3, 1)
    assert verdict.worst_site == "home"
    assert verdict.worst_site_fpr == pytest.approx(1 / 3)
    assert verdict.accuracy == pytest.approx(5 / 7)
    assert verdict.to_json()["sites"]["mill"]["fn"] == 1


def test_other_weights_give_another_verdict_and_leave_the_bundle_alone(tmp_path: Path) -> None:
    made = bundle(tmp_path)
    heldout = {"home": rows((BENIGN, 0), (ATTACK, 1))}
    swapped = judge_weights(made, {"w": np.array([[0, 1], [1, 0]], np.float32)}, heldout)
    assert swapped.counts == Counts(tp=0, fp=1, tn=0, fn=1)
    assert judge(made, heldout).counts == Counts(tp=1, fp=0, tn=1, fn=0)
    with pytest.raises(InputError, match="not finite"):
        judge_weights(made, {"w": np.full((2, 2), np.nan, np.float32)}, heldout)


def test_the_threshold_of_the_manifest_holds(tmp_path: Path) -> None:
    heldout = {"home": rows(([0.0, 0.5], 1))}
    assert judge(bundle(tmp_path / "low"), heldout).counts.tp == 1
    assert judge(bundle(tmp_path / "high", threshold=0.9), heldout).counts.fn == 1


def test_a_score_that_is_not_finite_is_no_finding_and_is_counted(tmp_path: Path) -> None:
    verdict = judge(bundle(tmp_path), {"home": rows(([np.nan, 1.0], 1), (BENIGN, 0))})
    assert verdict.counts == Counts(tp=0, fp=0, tn=1, fn=1, broken=1)
    assert not verdict.finite


def test_a_site_with_few_benign_flows_is_not_the_worst() -> None:
    sites = {"tiny": Counts(tp=50, fp=2), "home": Counts(fp=1, tn=99)}
    assert Verdict.of(sites).worst_site == "home"
    assert Verdict.of({"tiny": sites["tiny"]}).worst_site == ""


def test_sets_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="held-out set of 'home' has rows of shape"):
        judge(bundle(tmp_path), {"home": (np.zeros((1, 3), np.float32), np.zeros(1, np.int64))})
    with pytest.raises(InputError, match="names no benign label"):
        judge(bundle(tmp_path / "other", benign_label=None), {})


def test_a_model_whose_output_is_no_score_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(parser.parse_model(MODEL).SerializeToString())
    made = pack_onnx(tmp_path / "m.onnx", tmp_path / "b", name="raw", kind=DecisionKind.RAW)
    with pytest.raises(InputError, match="of kind 'raw' has no score"):
        judge(made, {})


@given(st.dictionaries(st.text("abc", min_size=1), counts))
def test_rates_are_rates(sites: dict[str, Counts]) -> None:
    verdict = Verdict.of(sites)
    for rate in (verdict.accuracy, verdict.precision, verdict.recall, verdict.f1, verdict.fpr, verdict.worst_site_fpr):
        assert 0 <= rate <= 1
    assert verdict.counts.total == sum(item.total for item in sites.values())
    assert min(verdict.precision, verdict.recall) - 1e-12 <= verdict.f1 or verdict.counts.tp == 0


@given(st.dictionaries(st.sampled_from("abc"), counts, min_size=1))
def test_a_model_may_always_be_replaced_by_its_equal(sites: dict[str, Counts]) -> None:
    verdict = Verdict.of(sites)
    decision = accept(verdict, verdict, Policy(max_f1_drop=0, max_worst_site_fpr_increase=0))
    assert decision.accepted == bool(verdict.counts.total)


GOOD = Verdict.of({"a": Counts(tp=90, fp=2, tn=98, fn=10), "b": Counts(tp=90, fp=4, tn=96, fn=10)})


@pytest.mark.parametrize(
    ("candidate", "policy", "reason"),
    [
        (Verdict.of({"a": Counts(90, 2, 98, 10), "b": Counts(70, 4, 96, 30)}), Policy(), "below the current"),
        (Verdict.of({"a": Counts(95, 1, 99, 5), "b": Counts(95, 20, 80, 5)}), Policy(), "false positives at b 0.200"),
        (Verdict.of({"a": Counts(95, 1, 199, 5, broken=3)}), Policy(), "no finite score for 3 of 300 flows"),
        (GOOD, Policy(min_f1=0.99), "below the floor of 0.99"),
        (Verdict.of({"a": Counts(90, 2, 98, 10)}), Policy(), "judged on 200 flows, the current model on 400"),
        (Verdict.of({}), Policy(), "no held-out flows"),
    ],
)
def test_what_is_refused_and_why(candidate: Verdict, policy: Policy, reason: str) -> None:
    decision = accept(candidate, GOOD, policy)
    assert not decision.accepted
    assert reason in decision.reason


def test_a_better_candidate_is_accepted() -> None:
    better = Verdict.of({"a": Counts(95, 2, 98, 5), "b": Counts(95, 3, 97, 5)})
    assert accept(better, GOOD, Policy()).reason == "F1 0.933 to 0.962, worst site's false positives 0.040 to 0.030"
    assert accept(better, None, Policy()).accepted


def test_a_detector_may_replace_one_that_never_raises_an_alarm() -> None:
    silent = Verdict.of({"a": Counts(tp=0, fp=0, tn=100, fn=100)})
    awake = Verdict.of({"a": Counts(tp=95, fp=8, tn=92, fn=5)})
    assert accept(awake, silent, Policy(tolerated_worst_site_fpr=0.1)).accepted
    assert not accept(awake, silent, Policy(tolerated_worst_site_fpr=0.05)).accepted
