"""The leader's mean, and who is waited for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nervure_core.errors import InputError, InternalError
from nervure_federation.rounds.joining import (
    StreamingMean,
    absences,
    order_of,
    pack_arrays,
    still_expected,
    unpack_arrays,
    with_momentum,
)
from nervure_federation.rounds.records import Contribution, Participant
from nervure_federation.rounds.selection import choose

FLOATS = st.floats(-1e3, 1e3, width=32)


@given(
    st.lists(st.tuples(hnp.arrays(np.float32, (3, 2), elements=FLOATS), st.integers(1, 10_000)), min_size=1, max_size=8)
)
def test_the_streaming_mean_is_the_mean(parts: list[tuple[np.ndarray, int]]) -> None:
    mean = StreamingMean()
    for array, weight in parts:
        mean.add({"w": array}, weight=weight)
    total = sum(weight for _, weight in parts)
    wanted = sum(array.astype(np.float64) * weight for array, weight in parts) / total
    found: Any = mean.result()["w"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    assert mean.weight == total


@given(st.floats(0, 0.99), st.lists(FLOATS, min_size=3, max_size=3))
def test_momentum_carries_on_the_last_step(momentum: float, values: list[float]) -> None:
    mean, base, before = ({"w": np.array([value], np.float32)} for value in values)
    found: Any = with_momentum(mean, base, before, momentum)["w"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [values[0] + momentum * (values[1] - values[2])], rtol=1e-5, atol=1e-3)


def test_without_momentum_the_mean_stays_bit_for_bit() -> None:
    mean = {"w": np.array([0.1, 1e-30, 3e8], np.float32)}
    found = with_momentum(mean, {"w": np.ones(3, np.float32)}, {"w": np.zeros(3, np.float32)}, 0.0)
    assert found["w"].tobytes() == mean["w"].tobytes()


def test_sets_that_do_not_fit_together_are_refused() -> None:
    mean = StreamingMean()
    with pytest.raises(InternalError):
        mean.result()
    with pytest.raises(InputError, match="positive"):
        mean.add({"w": np.zeros(2, np.float32)}, weight=0)
    mean.add({"w": np.zeros(2, np.float32)}, weight=1)
    with pytest.raises(InputError, match="not in every"):
        mean.add({"v": np.zeros(2, np.float32)}, weight=1)
    with pytest.raises(InputError, match="shape"):
        mean.add({"w": np.zeros(3, np.float32)}, weight=1)


@given(
    st.dictionaries(
        st.sampled_from(["w", "w.npy", "file", "a/b", "args", ""]),
        hnp.arrays(
            st.sampled_from([np.dtype(name) for name in ("float32", "int64")]),
            hnp.array_shapes(min_dims=0, max_dims=2, max_side=3),
        ),
        max_size=4,
    )
)
def test_packing_gives_back_what_was_put_in(arrays: dict[str, np.ndarray]) -> None:
    found = unpack_arrays(pack_arrays(arrays))
    assert pack_arrays(found) == pack_arrays(arrays)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_damaged_packages_are_an_input_error() -> None:
    data = pack_arrays({"w": np.zeros(3, np.float32)})
    for damaged in (b"", b"PK", data[:20], data[:-10], b"\xff" * 9):
        with pytest.raises(InputError, match="no set of tensors"):
            unpack_arrays(damaged)


def contribution(region: str, state: str = "done") -> Contribution:
    return Contribution(region=region, hub_id="h", state=state, reason="why")  # type: ignore[arg-type]


def test_only_hubs_that_live_and_are_silent_are_waited_for() -> None:
    hubs = [Participant(region=name, hub_id="h") for name in ("asia", "europe", "oceania", "africa")]
    came = [contribution("europe"), contribution("africa", "failed")]
    alive = {("asia", "h"), ("europe", "h"), ("asia", "new-id")}
    assert [hub.region for hub in still_expected(hubs, came, alive)] == ["asia"]
    assert still_expected(hubs, came, set()) == []
    assert [found.region for found in order_of([*came, contribution("asia")])] == ["asia", "europe"]
    assert absences(hubs, came) == (
        "asia/h: no contribution, its hub is gone or was too late",
        "oceania/h: no contribution, its hub is gone or was too late",
        "africa/h: failed: why",
    )


@given(
    st.sets(st.text("abc", min_size=1, max_size=3), max_size=20),
    st.floats(0.01, 1.0),
    st.integers(1, 5),
    st.integers(1, 30),
    st.text(max_size=5),
)
def test_choosing_is_repeatable_and_within_bounds(
    names: set[str], fraction: float, at_least: int, at_most: int, key: str
) -> None:
    chosen = choose(list(names), fraction=fraction, at_least=at_least, at_most=at_most, key=key)
    again = choose(sorted(names, reverse=True), fraction=fraction, at_least=at_least, at_most=at_most, key=key)
    assert chosen == again == tuple(sorted(set(chosen)))
    assert set(chosen) <= names
    assert len(chosen) <= min(at_most, len(names))
    assert len(chosen) >= min(at_least, at_most, len(names))
