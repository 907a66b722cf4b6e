"""What can go wrong when a forward model is turned into a training step: the model is not ours to train."""

from __future__ import annotations

from collections.abc import Sequence

from nervure_core.errors import InputError


class UntrainableModelError(InputError):
    """The forward model holds something that no gradient rule covers.

    Attributes:
        reasons: Everything that stands in the way, one sentence each, as :func:`supports` lists it.
    """

    code = "untrainable_model"

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(
            f"this model can't be trained: {'; '.join(self.reasons)}",
            hint="freeze what stands in the way by leaving it out of the trainable list, or deploy without training",
        )
