"""Puts a training step together: forward nodes, loss, gradients, proximal term, clipping, optimizer."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, checker, helper

from nervure_core.errors import ConfigurationError
from nervure_federation.training_graph import names, optimizers
from nervure_federation.training_graph.errors import UntrainableModelError
from nervure_federation.training_graph.forward import Forward, read, weights
from nervure_federation.training_graph.limits import reasons
from nervure_federation.training_graph.losses import LOSSES, Loss
from nervure_federation.training_graph.reverse import differentiate
from nervure_federation.training_graph.writer import GraphWriter

PRODUCER = "nervure"


def supports(
    model: ModelProto,
    *,
    trainable: Sequence[str] | None = None,
    loss: str = "softmax_cross_entropy",
    output: str | None = None,
) -> list[str]:
    """List what stops a forward model from being trained; empty when nothing does.

    Args:
        model: The forward model.
        trainable: Initialisers to train; by default those :func:`weights` finds.
        loss: Name of the objective, a key of ``LOSSES``.
        output: The output to train; by default the first.

    Raises:
        ConfigurationError: The loss isn't known.
        InputError: The model isn't valid ONNX.
    """
    chosen = weights(model) if trainable is None else tuple(trainable)
    return reasons(model, read(model, chosen, output), _loss(loss), chosen)


def build(
    infer: ModelProto,
    *,
    trainable: Sequence[str] | None = None,
    loss: str = "softmax_cross_entropy",
    optimizer: names.Optimizer = "adam",
    clip_norm: float | None = None,
    output: str | None = None,
) -> ModelProto:
    """Build a training step from a forward model.

    Args:
        infer: The forward model, with all of its weights inside (load external data first).
        trainable: Initialisers to train; by default those :func:`weights` finds. The others are frozen into the result.
        loss: Name of the objective, a key of ``LOSSES``.
        optimizer: ``"sgd"`` or ``"adam"``.
        clip_norm: Largest L2 norm of the whole gradient; ``None`` never scales it down.
        output: The output to train; by default the first.

    Returns:
        A model of ordinary ONNX operators; its inputs and outputs are those of :mod:`.names`.

    Raises:
        ConfigurationError: The loss or the optimizer isn't known, or the clipping norm isn't positive.
        InputError: The model isn't valid ONNX.
        UntrainableModelError: The model holds something that can't be trained.
    """
    objective = _loss(loss)
    if optimizer not in optimizers.OPTIMIZERS:
        raise ConfigurationError(f"no optimizer {optimizer!r}", hint=f"one of {', '.join(optimizers.OPTIMIZERS)}")
    if clip_norm is not None and not clip_norm > 0:
        raise ConfigurationError(f"the clipping norm must be positive, not {clip_norm}")
    chosen = weights(infer) if trainable is None else tuple(trainable)
    forward = read(infer, chosen, output)
    if found := reasons(infer, forward, objective, chosen):
        raise UntrainableModelError(found)
    writer = _write(forward, objective, optimizer, clip_norm)
    return _model(infer, forward, objective, optimizer, writer, loss)


def _loss(name: str) -> Loss:
    if name not in LOSSES:
        raise ConfigurationError(f"no loss {name!r}", hint=f"one of {', '.join(LOSSES)}")
    return LOSSES[name]


def _write(forward: Forward, loss: Loss, optimizer: names.Optimizer, clip_norm: float | None) -> GraphWriter:
    taken = {name for node in forward.nodes for name in (*node.input, *node.output)} | {forward.scores}
    writer = GraphWriter(_float_type(forward), taken=taken, shapes=forward.shapes)
    writer.nodes.extend(forward.nodes)
    task = loss.write(writer, forward.scores, names.LABELS)
    by_value = differentiate(writer, forward.nodes, forward.live, {forward.scores: task.gradient})
    pull = optimizers.proximal(writer, tuple(forward.weights))
    writer.emit("Add", [task.value, pull.value], output=names.LOSS)
    gradients = {
        name: writer.emit("Add", [by_value[names.parameter(name)], pull.gradients[name]]) for name in forward.weights
    }
    length = optimizers.norm(writer, gradients)
    if clip_norm is not None:
        gradients = optimizers.clip(writer, gradients, length, clip_norm)
    optimizers.OPTIMIZERS[optimizer](writer, gradients)
    return writer


def _float_type(forward: Forward) -> np.dtype[np.generic]:
    (kind,) = {tensor.data_type for tensor in forward.weights.values()}
    return np.dtype(helper.tensor_dtype_to_np_dtype(kind))


def _model(
    infer: ModelProto, forward: Forward, loss: Loss, optimizer: names.Optimizer, writer: GraphWriter, loss_name: str
) -> ModelProto:
    trainable = tuple(forward.weights)
    specs = {value.name: value for value in forward.inputs}
    specs |= {names.LABELS: loss.labels(forward.shapes[forward.scores])}
    kind = next(iter(forward.weights.values())).data_type
    for name in (names.LEARNING_RATE, names.PROXIMAL_WEIGHT, names.LOSS, names.GRADIENT_NORM):
        specs[name] = helper.make_tensor_value_info(name, kind, [])
    specs[names.STEPS] = helper.make_tensor_value_info(names.STEPS, TensorProto.INT64, [])
    for weight, tensor in forward.weights.items():
        for named in (names.parameter, names.anchor, names.first_moment, names.second_moment):
            specs[named(weight)] = helper.make_tensor_value_info(named(weight), kind, list(tensor.dims))

    data = [value.name for value in forward.inputs]
    graph = helper.make_graph(
        writer.nodes,
        "training_step",
        [specs[name] for name in names.step_inputs(trainable, optimizer, data=data)],
        [_output(specs, name) for name in names.step_outputs(trainable, optimizer)],
        initializer=[*forward.constants, *writer.constants],
    )
    model = helper.make_model(
        graph, opset_imports=list(infer.opset_import), ir_version=infer.ir_version, producer_name=PRODUCER
    )
    said = {"loss": loss_name, "optimizer": optimizer, "trainable": json.dumps(trainable)}
    helper.set_model_props(model, {f"{PRODUCER}.{key}": value for key, value in said.items()})
    checker.check_model(model, full_check=True)
    return model


def _output(specs: dict[str, ValueInfoProto], name: str) -> ValueInfoProto:
    spec = ValueInfoProto()
    spec.CopyFrom(specs[name.removeprefix(names.NEXT)])
    spec.name = name
    return spec
