"""From many arrays to one: the leader's streaming weighted mean, and who is still waited for; pure.

The sum is kept in float64 and takes one contribution at a time, so memory is O(model) however many hubs there are, and
the order of the contributions (sorted by region and hub) makes reruns bit-equal.

>>> mean = StreamingMean()
>>> mean.add({"w": np.array([1.0], np.float32)}, weight=1)
>>> mean.add({"w": np.array([4.0], np.float32)}, weight=2)
>>> mean.result()["w"].tolist(), mean.result()["w"].dtype.name
([3.0], 'float32')
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from nervure_core.codec import MalformedFrame, decode_content, encode_content
from nervure_core.errors import InputError, InternalError
from nervure_core.tensors import Arrays, TaskContent
from nervure_federation.rounds.records import Contribution, Participant

_ARRAYS = "arrays"


class StreamingMean:
    """A weighted mean of sets of tensors that holds one set in memory.

    The first set fixes names, shapes and dtypes; the result is cast back to those dtypes.
    """

    __slots__ = ("_dtypes", "_sums", "_weight")

    def __init__(self) -> None:
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._dtypes: dict[str, np.dtype[np.generic]] = {}
        self._weight = 0.0

    @property
    def weight(self) -> float:
        """The sum of the weights so far."""
        return self._weight

    def add(self, arrays: Mapping[str, NDArray[np.generic]], *, weight: float) -> None:
        """Add one set.

        Args:
            arrays: Tensors by name.
            weight: Positive.

        Raises:
            InputError: Names or shapes differ from the first set's, or the weight is not positive.
        """
        if weight <= 0:
            raise InputError(f"a weight must be positive, not {weight}")
        if not self._dtypes:
            self._dtypes = {name: array.dtype for name, array in arrays.items()}
            self._sums = {name: np.zeros(array.shape, np.float64) for name, array in arrays.items()}
        if arrays.keys() != self._sums.keys():
            raise InputError(f"tensors {sorted(arrays.keys() ^ self._sums.keys())[:5]} are not in every aggregate")
        for name, array in arrays.items():
            if array.shape != self._sums[name].shape:
                raise InputError(f"tensor {name!r} has shape {array.shape} here and {self._sums[name].shape} before")
            self._sums[name] += array.astype(np.float64) * weight
        self._weight += weight

    def result(self) -> Arrays:
        """Return the mean in the dtypes of the first set.

        Raises:
            InternalError: Nothing was added.
        """
        if not self._weight:
            raise InternalError("the mean of nothing was asked for")
        return {name: (total / self._weight).astype(self._dtypes[name]) for name, total in self._sums.items()}


def with_momentum(
    mean: Mapping[str, NDArray[np.generic]],
    base: Mapping[str, NDArray[np.generic]],
    before: Mapping[str, NDArray[np.generic]],
    momentum: float,
) -> Arrays:
    """Return the mean, carried on by a share of the step that led to the base: the heavy ball of FedAvgM.

    The step is read off the two last models instead of being kept as state, so a leader that takes over comes to the
    same bits. Source: T. Hsu, H. Qi, M. Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification", 2019, arXiv 1909.06335.

    Args:
        mean: What the regions' weights join to.
        base: The weights that the round started from.
        before: The weights that the round before it started from.
        momentum: 0 to 1.
    """
    return {
        name: (
            array.astype(np.float64) + momentum * (base[name].astype(np.float64) - before[name].astype(np.float64))
        ).astype(array.dtype)
        for name, array in mean.items()
    }


def order_of(contributions: Iterable[Contribution]) -> list[Contribution]:
    """Return those that brought weights, in the order in which they are summed."""
    done = (contribution for contribution in contributions if contribution.state == "done")
    return sorted(done, key=lambda contribution: (contribution.region, contribution.hub_id))


def still_expected(
    participants: Sequence[Participant], contributions: Iterable[Contribution], alive: AbstractSet[tuple[str, str]]
) -> list[Participant]:
    """Return the participants that may still contribute: those that live and have said nothing yet.

    Args:
        participants: Who was asked.
        contributions: What came, whatever its state.
        alive: (region, hub id) of the hubs whose lease holds. A hub that died after contributing still counts.
    """
    heard = {(contribution.region, contribution.hub_id) for contribution in contributions}
    return [hub for hub in participants if (hub.region, hub.hub_id) in alive - heard]


def absences(participants: Sequence[Participant], contributions: Iterable[Contribution]) -> tuple[str, ...]:
    """Say for each participant that brought nothing why."""
    by_hub = {(contribution.region, contribution.hub_id): contribution for contribution in contributions}
    said: list[str] = []
    for hub in participants:
        found = by_hub.get((hub.region, hub.hub_id))
        if found is None:
            said.append(f"{hub}: no contribution, its hub is gone or was too late")
        elif found.state != "done":
            said.append(f"{hub}: {found.state}: {found.reason}")
    return tuple(said)


def pack_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Return tensors as they also travel in tasks: byte-equal for equal tensors, so that their hash names them.

    Not npz: its reader takes a tensor called ``w`` for another one called ``w.npy``, and ``file`` can't be written.
    """
    return encode_content(TaskContent({_ARRAYS: dict(arrays)}))


def unpack_arrays(data: bytes) -> Arrays:
    """Return the tensors that `pack_arrays` packed.

    Raises:
        InputError: The bytes are something else.
    """
    try:
        return decode_content(data).arrays[_ARRAYS]
    except (MalformedFrame, KeyError) as error:
        raise InputError(f"{len(data)} bytes are no set of tensors: {error}") from error
