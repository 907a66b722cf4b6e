"""The workload contract: what an agent senses and turns into rows for a model.

A workload is a plug-in. An entry point in the group ``nervure.workloads`` names a factory; the factory takes the
``[workload.options]`` of the agent's configuration and the model contract it must feed, and returns a ``Workload``.
``Workload.open`` gives the ``Pipeline`` that one worker thread drives:

    poll -> [Observation, ...] -> model -> decision -> event

Rules:
- A pipeline is driven by one thread at a time (not always the same one) and never by two at once.
- ``poll`` may block up to about 100 ms. ``[]`` means nothing now, ``None`` means the source has ended; after ``None``
  it keeps returning ``None``.
- A malformed packet, frame or row is counted in ``stats`` and skipped; ``poll`` raises only when the source as a whole
  is lost (``WorldError``) or was never usable (``InputError``, best raised by ``open``).
- ``close`` may be called at any time after ``open``, also twice, also from another thread while no ``poll`` runs.
- ``stats`` may be called from any thread.
- A pipeline may have a text ``problem``: why its source ended before it should have (a file that is cut off). What came
  before counts; the agent says it, and a run that ends with its source fails with it.

>>> row = Observation(time_us=0, subject="sensor-7", features={})
>>> row.truth is None
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    # An agent that waits for a model need not carry numpy.
    from numpy.typing import NDArray


Features: TypeAlias = "dict[str, NDArray[Any]]"
"""One row for the model: inputs by name, each with a first axis of length one."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that was sensed, ready for the model."""

    time_us: int
    """When it happened, in microseconds since the Unix epoch."""
    subject: str
    """What it is about: a flow ``10.0.0.7:52110>10.0.0.1:22/tcp``, a row ``row-17``."""
    features: Features
    """The model's inputs by name, one row each: shape ``(1, ...)``."""
    detail: str = "{}"
    """JSON text that travels with the event: what a reader needs to understand the finding."""
    truth: str | None = None
    """The true label where the source is labelled; such rows feed the trainer."""
    source: str = ""
    """The party that a response may act on (an address); empty where there is none."""


class Pipeline(Protocol):
    """A running sensor with its feature maker."""

    def poll(self, limit: int) -> list[Observation] | None:
        """Return up to ``limit`` new observations, ``[]`` for nothing now, ``None`` when the source has ended."""
        ...

    def close(self) -> None:
        """Release the source; safe to call twice."""
        ...

    def stats(self) -> dict[str, int]:
        """Return counters: packets, malformed, flows, evicted, skipped, ... whichever exist here."""
        ...


class Workload(Protocol):
    """What an agent senses."""

    @property
    def name(self) -> str:
        """The name that events carry, such as ``network``."""
        ...

    def open(self) -> Pipeline:
        """Open the source.

        Raises:
            InputError: The source is not what it should be (not a capture file, no such column).
            WorldError: The source is not there or not permitted (no such interface, no right to capture).
        """
        ...


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One input that the running model wants."""

    name: str
    dtype: str
    """A numpy dtype name (``float32``, ``int64``, ``bool``) or ``string``."""
    shape: tuple[int | None, ...]
    """With the batch axis first; ``None`` is any length."""
    columns: tuple[str, ...] = ()
    """The columns the model was made for, in order, where its manifest says so."""


@dataclass(frozen=True, slots=True)
class WorkloadConfig:
    """What a factory gets."""

    options: Mapping[str, Any]
    """The table ``[workload.options]`` of the configuration, merged with the flags; the workload validates it."""
    model_inputs: Callable[[], tuple[ModelInput, ...]]
    """The inputs of the model that runs now, empty while there is none; may change when a model is swapped."""


WorkloadFactory: TypeAlias = Callable[[WorkloadConfig], Workload]
"""What an entry point in the group ``nervure.workloads`` names.

Raises ``ConfigurationError`` when an option is unknown, of the wrong type, or contradicts another.
"""
