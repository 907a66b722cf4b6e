"""From a model's output to a label, a score and what may be done: pure functions, by the rules of the manifest.

Rules:
- ``softmax``: the score is the probability of not being benign; with no benign label, of the best label. From the
  threshold on the decision is positive and the label is the best one that is not benign.
- ``sigmoid``: the output is the score; labels are (negative, positive).
- ``label``: the output is the label, or its number among the labels; everything but the benign label is positive.
- ``raw``: the output is the score; from the threshold on it is positive.
- A score that is not a number is no decision: it raises, and the caller counts it. Silence must never mean benign.

The per-row function is made once per model, because it runs after every inference: it takes Python floats from
``tolist`` and makes nothing but the decision. ``scores`` is the same for a whole batch, for evaluation.

>>> decide = make_decider(spec, labels=("benign", "attack"), benign_label="benign")  # doctest: +SKIP
>>> decide(np.array([[0.2, 0.8]], np.float32))  # doctest: +SKIP
Decision(label='attack', score=0.8, positive=True, may_block=False)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nervure_core.bundle.manifest import DecisionKind, DecisionSpec
from nervure_core.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Output: TypeAlias = "NDArray[Any]"


class UnusableOutputError(InputError):
    """A model's output is not a number, or not of the shape that its manifest says."""

    code = "unusable_output"


class Decision(NamedTuple):
    """What a row was found to be."""

    label: str
    score: float
    positive: bool
    may_block: bool
    """Whether the score has reached the level from which the model's makers allow a block."""


Decider = Callable[[Output], Decision]
"""From the deciding output of one row to the decision."""


def make_decider(spec: DecisionSpec, labels: Sequence[str], benign_label: str | None) -> Decider:
    """Return the decision function of a model."""
    block = math.inf if spec.block_threshold is None else spec.block_threshold
    if spec.kind is DecisionKind.SOFTMAX:
        return _softmax(tuple(labels), benign_label, spec.threshold, block)
    if spec.kind is DecisionKind.LABEL:
        return _label(tuple(labels), benign_label, block)
    negative, positive = (labels[0], labels[1]) if len(labels) == 2 else ("negative", "positive")
    if spec.kind is DecisionKind.RAW and len(labels) != 2:
        negative = positive = labels[0] if labels else "value"
    return _scalar(negative, positive, spec.threshold, block)


def _softmax(labels: tuple[str, ...], benign_label: str | None, threshold: float, block: float) -> Decider:
    width = len(labels)
    if benign_label is None:
        return _best_of(labels, threshold, block)
    benign = labels.index(benign_label)
    others = [index for index in range(width) if index != benign]
    only = others[0] if len(others) == 1 else None

    def decide(output: Output) -> Decision:
        row = output[0].tolist()
        if len(row) != width:
            raise UnusableOutputError(f"{len(row)} probabilities for {width} labels")
        score = 1.0 - row[benign]
        if score >= threshold:
            best = only if only is not None else max(others, key=row.__getitem__)
            return Decision(labels[best], score, True, score >= block)
        if score != score:  # NaN, by the cheapest test on a path of microseconds
            raise UnusableOutputError("a probability is not a number")
        return Decision(benign_label, score, False, False)

    return decide


def _best_of(labels: tuple[str, ...], threshold: float, block: float) -> Decider:
    def decide(output: Output) -> Decision:
        row = output[0].tolist()
        if len(row) != len(labels):
            raise UnusableOutputError(f"{len(row)} probabilities for {len(labels)} labels")
        score = max(row)
        if not math.isfinite(sum(row)):
            raise UnusableOutputError("a probability is not a number")
        return Decision(labels[row.index(score)], score, score >= threshold, score >= block)

    return decide


def _label(labels: tuple[str, ...], benign_label: str | None, block: float) -> Decider:
    def decide(output: Output) -> Decision:
        found = output.reshape(-1)[0]
        if isinstance(found, str | bytes):
            label = found if isinstance(found, str) else found.decode("utf-8", "replace")
        else:
            number = int(found)
            label = labels[number] if 0 <= number < len(labels) else str(number)
        positive = label != benign_label
        score = 1.0 if positive else 0.0
        return Decision(label, score, positive, positive and score >= block)

    return decide


def _scalar(negative: str, positive: str, threshold: float, block: float) -> Decider:
    def decide(output: Output) -> Decision:
        score = float(output.reshape(-1)[0])
        if score >= threshold:
            return Decision(positive, score, True, score >= block)
        if score != score:  # NaN, by the cheapest test on a path of microseconds
            raise UnusableOutputError("the score is not a number")
        return Decision(negative, score, False, False)

    return decide


def scores(output: Output, spec: DecisionSpec, labels: Sequence[str], benign_label: str | None) -> NDArray[np.float64]:
    """Return the scores of a batch.

    Args:
        output: The deciding output, rows first.
        spec: The manifest's rules.
        labels: Names of the classes, in order.
        benign_label: The label that is no finding, if there is one.

    Raises:
        UnusableOutputError: A score is not a number.
    """
    import numpy as np  # not above: the module is also what an agent without a model imports

    if spec.kind is DecisionKind.LABEL:
        decide = make_decider(spec, labels, benign_label)
        return np.array([decide(output[index : index + 1]).score for index in range(len(output))], np.float64)
    rows = np.asarray(output, np.float64).reshape(len(output), -1)
    if spec.kind is not DecisionKind.SOFTMAX:
        found = rows[:, 0]
    elif benign_label is None:
        found = rows.max(axis=1)
    else:
        found = 1.0 - rows[:, list(labels).index(benign_label)]
    if not np.isfinite(found).all():
        raise UnusableOutputError("a score is not a number")
    return found
