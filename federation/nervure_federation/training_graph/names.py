"""The names a training-step graph is called by: the contract between the hub that builds it and the agent that runs it.

Rules:

- ONNX wants every name of a graph once, so what goes in as ``p.<w>`` comes out as ``new.p.<w>``: *the next value of an
  input is the output of the same name behind* :data:`NEXT`. An agent needs nothing else to loop.
- ``<w>`` is the tensor's name in ``infer.onnx``, in ``weights.bin`` and in a round's arrays: one name everywhere.
- The data inputs keep the names they have in ``infer.onnx`` (``x`` in the models made here).

=============== ============== =====================================================================
input           shape          what
=============== ============== =====================================================================
``x``           as in infer    features, float32 [N, F]; N is free, at least 1
``y``           int64 [N]      index of the true label, 0 .. C-1 (outside: the row has no true class)
``lr``          float []       learning rate of this step
``mu``          float []       weight of FedProx's proximal term; 0 switches it off
``p.<w>``       as the weight  the trainable weights
``g.<w>``       as the weight  the round's global weights, FedProx's anchor
``m.<w>``       as the weight  Adam's first moment, zeros at the start (Adam only)
``v.<w>``       as the weight  Adam's second moment, zeros at the start (Adam only)
``t``           int64 []       steps done so far, 0 at the start (Adam only)
=============== ============== =====================================================================

Outputs: ``loss`` float [], the mean objective of the batch *before* the step (task loss + proximal term);
``grad_norm`` float [], the L2 norm of the objective's whole gradient before clipping; then ``new.p.<w>``, and with Adam
``new.m.<w>``, ``new.v.<w>``, ``new.t``. onnxruntime refuses numpy scalars: feed ``[]`` shapes as 0-d arrays.

>>> next_name(parameter("fc1.weight"))
'new.p.fc1.weight'
>>> step_inputs(("w",), "adam", data=("x",))
('x', 'y', 'lr', 'mu', 'p.w', 'g.w', 'm.w', 'v.w', 't')
>>> step_outputs(("w",), "sgd")
('loss', 'grad_norm', 'new.p.w')
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Optimizer = Literal["sgd", "adam"]

LABELS = "y"
LEARNING_RATE = "lr"
PROXIMAL_WEIGHT = "mu"
STEPS = "t"
LOSS = "loss"
GRADIENT_NORM = "grad_norm"
NEXT = "new."
"""What stands before an input's name in the name of the output that replaces it."""


def parameter(weight: str) -> str:
    """Name the input that holds a trainable weight."""
    return f"p.{weight}"


def anchor(weight: str) -> str:
    """Name the input that holds the round's global value of a trainable weight."""
    return f"g.{weight}"


def first_moment(weight: str) -> str:
    """Name the input that holds Adam's running mean of a weight's gradient."""
    return f"m.{weight}"


def second_moment(weight: str) -> str:
    """Name the input that holds Adam's running mean of a weight's squared gradient."""
    return f"v.{weight}"


def next_name(name: str) -> str:
    """Name the output that replaces the input ``name`` after the step."""
    return NEXT + name


def state_names(trainable: Sequence[str], optimizer: Optimizer) -> tuple[str, ...]:
    """List the inputs that carry the optimizer's state from step to step, all zeros at the start."""
    if optimizer == "sgd":
        return ()
    return (*map(first_moment, trainable), *map(second_moment, trainable), STEPS)


def step_inputs(trainable: Sequence[str], optimizer: Optimizer, *, data: Sequence[str]) -> tuple[str, ...]:
    """List a training graph's inputs in order; ``data`` are the forward model's own inputs."""
    fixed = (*data, LABELS, LEARNING_RATE, PROXIMAL_WEIGHT)
    return (*fixed, *map(parameter, trainable), *map(anchor, trainable), *state_names(trainable, optimizer))


def step_outputs(trainable: Sequence[str], optimizer: Optimizer) -> tuple[str, ...]:
    """List a training graph's outputs in order."""
    carried = (*map(parameter, trainable), *state_names(trainable, optimizer))
    return (LOSS, GRADIENT_NORM, *map(next_name, carried))


def reserved(trainable: Sequence[str]) -> frozenset[str]:
    """List every name that a training graph over these weights needs for itself."""
    return frozenset((*step_inputs(trainable, "adam", data=()), *step_outputs(trainable, "adam")))
