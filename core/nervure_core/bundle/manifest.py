"""The manifest of a bundle: its words, validated whole.

Shapes: a dimension is a positive number or -1 for "any"; the first dimension of an input is the batch.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""No slash and no leading dot: a bundle's file can't leave its folder."""

MAX_FILE_BYTES = 2 << 30


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Part):
    """One input or output of the model."""

    name: str
    dtype: str
    """``float32``, ``int64``, ``string`` … as numpy names it; ``string`` for text."""
    shape: tuple[int, ...]


class TensorLayout(_Part):
    """Where one tensor rests in ``weights.bin``, little-endian, C order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int = Field(ge=0)
    length: int = Field(ge=0)


class FileEntry(_Part):
    """One file of the bundle."""

    sha256: Sha256
    size: int = Field(ge=0, le=MAX_FILE_BYTES)


class DecisionKind(StrEnum):
    """How an output becomes a label."""

    SOFTMAX = "softmax"
    """The output holds one probability per label."""
    SIGMOID = "sigmoid"
    """The output holds the probability of the positive label."""
    LABEL = "label"
    """The output is the label itself (text or class number)."""
    RAW = "raw"
    """The output is a number to report as it is."""


class DecisionSpec(_Part):
    """From outputs to a label, a score and an action."""

    output: str
    kind: DecisionKind
    threshold: float = Field(default=0.5, ge=0.0, le=1.0)
    """Score from which a finding is positive."""
    block_threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    """Score from which a response may block; None: never."""


class TrainingSpec(_Part):
    """What ``train.onnx`` is and how it is run when a task says nothing."""

    optimizer: str = "sgd"
    stateful: bool = False
    """True when the graph takes and gives optimizer state (``m.*``, ``v.*``, ``t``)."""
    learning_rate: float = Field(default=0.01, gt=0.0)
    batch_size: int = Field(default=32, ge=1, le=65536)


class Lineage(_Part):
    """Where the weights come from."""

    parent: str = ""
    """Bundle id that these weights were trained from."""
    run_id: str = ""
    round: int = 0
    note: str = ""


class Manifest(_Part):
    """The whole manifest; ``files`` is filled in by ``write_bundle``."""

    format: int = Field(default=1, ge=1, le=1)
    name: Name
    release: int = Field(ge=1)
    workload: str = ""
    """Workload the model is for; empty: any."""
    features: str = ""
    """Feature schema of the input, such as ``flow.v1``; empty: the workload maps columns by name."""
    columns: tuple[str, ...] = ()
    """Columns of the feature vector, or the table's columns, in order."""
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    labels: tuple[str, ...] = ()
    benign_label: str | None = None
    decision: DecisionSpec
    tensors: tuple[TensorLayout, ...] = ()
    trainable: tuple[str, ...] = ()
    training: TrainingSpec | None = None
    lineage: Lineage = Lineage()
    files: dict[FileName, FileEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        outputs = {item.name for item in self.outputs}
        if self.decision.output not in outputs:
            raise ValueError(f"decision.output {self.decision.output!r} is not among the outputs {sorted(outputs)}")
        if self.decision.kind is DecisionKind.SOFTMAX and len(self.labels) < 2:
            raise ValueError("decision.kind softmax needs at least two labels")
        decides = next(item for item in self.outputs if item.name == self.decision.output)
        if self.decision.kind is DecisionKind.SOFTMAX and decides.shape[-1:] not in ((), (-1,), (len(self.labels),)):
            raise ValueError(
                f"decision.output {decides.name!r} holds {decides.shape[-1]} probabilities, and there are "
                f"{len(self.labels)} labels: {', '.join(self.labels)}"
            )
        if self.benign_label is not None and self.benign_label not in self.labels:
            raise ValueError(f"benign_label {self.benign_label!r} is not among the labels {list(self.labels)}")
        missing = sorted(set(self.trainable) - {item.name for item in self.tensors})
        if missing:
            raise ValueError(f"trainable names {missing} are not among the tensors")
        return self
