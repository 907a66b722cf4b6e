"""Learning on the device: runs the steps of ``train.onnx`` in plain onnxruntime, and evaluates, when a hub asks.

Rules:
- The graph says everything: its output ``new.<input>`` is the next step's ``<input>``; inputs that are neither data,
  settings nor weights start as zeros. So a hub can change the optimizer without a new agent.
- Bad content, no examples, a passed deadline, a graph that fails: each gives ``TaskResult(ok=False)`` with the reason;
  nothing that a hub sends can end the agent.
- Same weights, same examples, same seed and round: same result, bit for bit, on the same machine.
- Work runs in the caller's thread, one task at a time; memory is one batch, the weights and the optimizer's state.

A task's settings (config record): ``lr``, ``epochs``, ``batch-size``, ``mu`` or ``proximal-mu``, ``seed``,
``server-round``; a train answer carries arrays ``arrays`` and metrics ``num-examples, train-loss, train-steps``; an
evaluate answer metrics ``num-examples, eval-loss, tp, fp, tn, fn``.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from nervure_core.bundle import INFER, TRAIN, WEIGHTS, Manifest, arrays_to_weights
from nervure_core.bundle.manifest import DecisionKind
from nervure_core.codec import decode_content, encode_content
from nervure_core.errors import InputError, NervureError
from nervure_core.messages import TaskKind, TaskOrder, TaskResult
from nervure_core.tensors import Arrays, TaskContent
from nervure_edge.config import TrainingSettings
from nervure_edge.decision import scores
from nervure_edge.examples import ExampleStore
from nervure_edge.models.loaded import LoadedModel

if TYPE_CHECKING:
    import onnxruntime as ort

logger = logging.getLogger(__name__)

_NEXT = "new."
_EVALUATION_ROWS = 1024
_SMALLEST = 1e-12


class TaskError(InputError):
    """A task cannot be done here; the reason goes back to the hub."""

    code = "task"


class Trainer:
    """Performs tasks.

    Args:
        examples: The rows to learn from.
        settings: Bounds that no task may exceed.
        model: The model that runs now.
        monotonic_s: Where deadlines are measured.
        scratch: Folder for the short-lived files of an evaluation; None takes the system's.
    """

    def __init__(
        self,
        examples: ExampleStore,
        settings: TrainingSettings,
        *,
        model: Callable[[], LoadedModel | None],
        monotonic_s: Callable[[], float],
        scratch: Path | None = None,
    ) -> None:
        self._examples = examples
        self._settings = settings
        self._model = model
        self._monotonic_s = monotonic_s
        self._scratch = scratch
        self._graph: tuple[str, ort.InferenceSession] | None = None
        self._stopping = False

    def stop(self) -> None:
        """Let the task that runs now fail at its next step; later ones fail at once."""
        self._stopping = True

    def perform(self, order: TaskOrder, received_s: float) -> TaskResult:
        """Do what the order says and return the answer; never raises for anything the order contains.

        Args:
            order: The task with its whole content.
            received_s: Monotonic time at which it came; its deadline counts from there.
        """
        try:
            if not self._settings.enabled:
                raise TaskError("training is switched off on this device")
            content = self._answer(order, received_s + order.deadline_s)
        except NervureError as error:
            logger.warning("task %s failed: %s", order.task_id, error)
            return TaskResult(order.task_id, order.run_id, order.round, ok=False, error=error.message[:500])
        except Exception as error:  # noqa: BLE001 - onnxruntime has no common base, and a hub's graph must not end the agent
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            logger.warning("task %s failed: %s", order.task_id, reason)
            return TaskResult(order.task_id, order.run_id, order.round, ok=False, error=f"{order.kind}: {reason}")
        return TaskResult(order.task_id, order.run_id, order.round, ok=True, content=encode_content(content))

    def _answer(self, order: TaskOrder, deadline_s: float) -> TaskContent:
        if order.kind is TaskKind.QUERY:
            held = self._examples.counts()
            return TaskContent(metrics={"metrics": {"num-examples": len(self._examples), **_prefixed("label.", held)}})
        content = decode_content(order.content)
        model = self._model()
        if model is None:
            raise TaskError("this device runs no model yet")
        settings = TaskSettings(next(iter(content.configs.values()), {}), model.manifest, self._settings, order.round)
        given = content.arrays.get("arrays") or next(iter(content.arrays.values()), {})
        x, y = self._examples.arrays(model.manifest.labels)
        if not len(x):
            raise TaskError("this device holds no labelled examples")
        width = model.inputs[0].shape[-1]
        if len(model.inputs) != 1 or width not in (None, x.shape[1]):
            raise TaskError(f"examples have {x.shape[1]} features, the model wants {width}")
        if order.kind is TaskKind.EVALUATE:
            return self._evaluate(model, given, x, y)
        return self._train(model, given, settings, (x, y), deadline_s)

    def _train(
        self,
        model: LoadedModel,
        given: Arrays,
        settings: TaskSettings,
        data: tuple[NDArray[np.float32], NDArray[np.int64]],
        deadline_s: float,
    ) -> TaskContent:
        if not model.can_train:
            raise TaskError(f"model {model.manifest.name} release {model.manifest.release} brings no training step")
        weights = _checked(model.manifest, given, model.manifest.trainable)
        session = self._training_graph(model)
        names = [item.name for item in session.get_outputs()]
        carried = [(index, name.removeprefix(_NEXT)) for index, name in enumerate(names) if name.startswith(_NEXT)]
        x_name = model.inputs[0].name
        feed = _first_feed(session, weights, settings, (x_name, "y"))
        x, y = data
        losses: list[float] = []
        steps = 0
        for epoch in range(settings.epochs):
            losses.clear()
            for rows in _batches(len(x), settings.batch_size, settings.rng(epoch)):
                if self._stopping:
                    raise TaskError("the agent stops")
                if self._monotonic_s() > deadline_s:
                    raise TaskError(f"deadline passed after {steps} steps of epoch {epoch + 1}")
                feed[x_name], feed["y"] = x[rows], y[rows]
                outputs = cast("list[Any]", session.run(names, feed))
                losses.append(float(outputs[0]) * len(rows))
                for index, name in carried:
                    feed[name] = outputs[index]
                steps += 1
        loss = sum(losses) / len(x)
        trained: Arrays = {name: np.asarray(feed[f"p.{name}"]) for name in weights}
        if not all(np.isfinite(array).all() for array in trained.values()):
            raise TaskError("training diverged: a weight is not finite", hint="lower the learning rate")
        return TaskContent(
            arrays={"arrays": trained},
            metrics={"metrics": {"num-examples": len(x), "train-loss": loss, "train-steps": steps}},
        )

    def _training_graph(self, model: LoadedModel) -> ort.InferenceSession:
        from nervure_core.bundle.pack import open_model

        sha256 = model.manifest.files[TRAIN].sha256
        if self._graph is None or self._graph[0] != sha256:
            self._graph = (sha256, open_model(model.bundle.path(TRAIN)))
        return self._graph[1]

    def _evaluate(self, model: LoadedModel, given: Arrays, x: NDArray[np.float32], y: NDArray[np.int64]) -> TaskContent:
        manifest = model.manifest
        session = self._with_weights(model, given) if given else model.session
        name = manifest.decision.output
        pieces = [
            np.asarray(session.run([name], {model.inputs[0].name: x[start : start + _EVALUATION_ROWS]})[0])
            for start in range(0, len(x), _EVALUATION_ROWS)
        ]
        output = np.concatenate(pieces)
        found = scores(output, manifest.decision, manifest.labels, manifest.benign_label) >= manifest.decision.threshold
        benign = manifest.labels.index(manifest.benign_label) if manifest.benign_label is not None else 0
        attack = y != benign
        counts = {
            "tp": int((found & attack).sum()),
            "fp": int((found & ~attack).sum()),
            "tn": int((~found & ~attack).sum()),
            "fn": int((~found & attack).sum()),
        }
        return TaskContent(
            metrics={"metrics": {"num-examples": len(x), "eval-loss": _loss(manifest, output, y), **counts}}
        )

    def _with_weights(self, model: LoadedModel, given: Arrays) -> ort.InferenceSession:
        """Open the model with other weights: its own file beside a weights file that lives as long as the opening."""
        from nervure_core.bundle.pack import open_model

        _checked(model.manifest, given, tuple(given))
        data = arrays_to_weights(model.manifest, {**model.bundle.weights(), **given})
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="evaluate-") as folder:
            (Path(folder) / WEIGHTS).write_bytes(data)
            (Path(folder) / INFER).write_bytes(model.bundle.path(INFER).read_bytes())
            return open_model(Path(folder) / INFER)


class TaskSettings:
    """A task's settings, checked against the device's bounds.

    Args:
        config: The config record of the task.
        manifest: Gives the defaults.
        bounds: What this device allows.
        round_number: Goes into the random order of the rows.

    Raises:
        TaskError: A setting is of the wrong type or out of bounds.
    """

    def __init__(self, config: dict[str, Any], manifest: Manifest, bounds: TrainingSettings, round_number: int) -> None:
        training = manifest.training
        self.learning_rate = _number(config, "lr", training.learning_rate if training else 0.01, 0.0, 1e3)
        self.epochs = int(_number(config, "epochs", 1, 1, bounds.max_epochs))
        self.batch_size = int(
            _number(config, "batch-size", training.batch_size if training else 32, 1, bounds.max_batch_size)
        )
        self.mu = _number(config, "mu", _number(config, "proximal-mu", 0.0, 0.0, 1e6), 0.0, 1e6)
        self._seed = int(_number(config, "seed", 0, 0, 2**63 - 1))
        self._round = int(_number(config, "server-round", round_number, 0, 2**31))

    def rng(self, epoch: int) -> np.random.Generator:
        """Return the source of an epoch's order."""
        return np.random.default_rng((self._seed, self._round, epoch))


def _number(config: dict[str, Any], key: str, default: float, low: float, high: float) -> float:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise TaskError(f"setting {key!r}: found {value!r}, should be a number from {low:g} to {high:g}")
    return value


def _batches(rows: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    order = rng.permutation(rows)
    for start in range(0, rows, size):
        yield order[start : start + size]


def _first_feed(
    session: ort.InferenceSession, weights: Arrays, settings: TaskSettings, data: tuple[str, ...]
) -> dict[str, Any]:
    """Give every input of the graph but the data its value for the first step."""
    # onnxruntime refuses numpy scalars: what has no axis must be a 0-d array.
    known = {"lr": np.array(settings.learning_rate, np.float32), "mu": np.array(settings.mu, np.float32)}
    feed: dict[str, Any] = {}
    for item in session.get_inputs():
        kind, _, name = item.name.partition(".")
        if item.name in data:
            continue
        if item.name in known:
            feed[item.name] = known[item.name]
        elif kind in ("p", "g") and name in weights:
            feed[item.name] = weights[name]
        elif kind in ("m", "v") and name in weights:
            feed[item.name] = np.zeros_like(weights[name])
        elif item.type == "tensor(int64)" and not item.shape:
            feed[item.name] = np.array(0, np.int64)
        else:
            raise TaskError(f"the training graph wants input {item.name!r}, which this agent cannot give")
    return feed


def _checked(manifest: Manifest, given: Arrays, wanted: tuple[str, ...]) -> Arrays:
    """Return the wanted tensors after holding them against the manifest's layout."""
    layout = {item.name: item for item in manifest.tensors}
    if set(given) != set(wanted) or not set(wanted) <= set(layout):
        strange = sorted(set(given) ^ set(wanted) | (set(wanted) - set(layout)))
        raise TaskError(f"tensors do not match model {manifest.name}: {', '.join(strange[:5])}")
    for name in wanted:
        array, item = given[name], layout[name]
        if array.shape != item.shape or array.dtype.name != item.dtype:
            raise TaskError(
                f"tensor {name!r} is {array.dtype}{list(array.shape)}, the model wants {item.dtype}{list(item.shape)}"
            )
        if not np.isfinite(array).all():
            raise TaskError(f"tensor {name!r} is not finite")
    return {name: np.ascontiguousarray(given[name]).reshape(given[name].shape) for name in wanted}


def _loss(manifest: Manifest, output: NDArray[Any], y: NDArray[np.int64]) -> float:
    """Return the mean cross-entropy, in nats; of models that give no probabilities the share of wrong labels."""
    if manifest.decision.kind is DecisionKind.LABEL:
        labels = np.array(manifest.labels, dtype=object)[y] if output.dtype.kind in "OSU" else y
        return float((output.reshape(-1) != labels).mean())
    rows = np.asarray(output, np.float64).reshape(len(output), -1)
    if manifest.decision.kind is DecisionKind.SOFTMAX:
        chosen = rows[np.arange(len(y)), y]
    else:
        chosen = np.where(y == 1, rows[:, 0], 1.0 - rows[:, 0])
    return float(-np.log(np.clip(chosen, _SMALLEST, 1.0)).mean())


def _prefixed(prefix: str, counts: dict[str, int]) -> dict[str, int]:
    return {prefix + key: value for key, value in counts.items()}
