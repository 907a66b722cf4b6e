"""Clock, retry, latency, names, files, statuses and transport."""

from __future__ import annotations

import asyncio
import math
import pickle
import random
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core import errors, transport
from nervure_core.clock import VirtualClock
from nervure_core.files import sha256_file, sha256_hex, write_atomic
from nervure_core.ids import check_name, new_id, new_stream_id
from nervure_core.latency import LatencyHistogram
from nervure_core.retry import Backoff
from nervure_core.segment_log import LogFull
from nervure_core.status import CATALOGUE, status_of


async def test_sleepers_of_a_virtual_clock_wake_in_the_order_of_their_deadlines() -> None:
    clock, woken = VirtualClock(), list[float]()

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (3.0, 1.0, 2.0):
            group.create_task(sleeper(seconds))
        await asyncio.sleep(0)
        assert clock.next_deadline_s() == 1.0
        clock.advance(2.5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert woken == [1.0, 2.0]
        clock.jump_wall(-1000)
        clock.advance(0.5)
    assert woken == [1.0, 2.0, 3.0]
    assert clock.monotonic_s() == 3.0


@given(st.integers(0, 2000), st.integers())
def test_delays_never_leave_their_bounds_however_many_tries(tries: int, seed: int) -> None:
    backoff = Backoff(base_s=0.5, cap_s=30.0, rng=random.Random(seed))
    delays = [backoff.next_delay_s() for _ in range(tries)]
    assert all(0.0 <= delay <= min(30.0, 0.5 * 2.0 ** min(index, 60)) for index, delay in enumerate(delays))
    backoff.reset()
    assert backoff.next_delay_s() <= 0.5


@given(st.lists(st.floats(1.0, 6e7), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_within_a_bucket_of_the_exact_one(values: list[float], q: float) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    assert exact / 1.1 <= histogram.quantile_us(q) <= exact * 1.1


@given(st.lists(st.floats(0, 1e9)), st.lists(st.floats(0, 1e9)))
def test_merged_histograms_are_the_histogram_of_all(one: list[float], other: list[float]) -> None:
    parts = [LatencyHistogram(), LatencyHistogram(), LatencyHistogram()]
    for target, values in zip(parts, (one, other, one + other), strict=True):
        for value in values:
            target.record(value)
    parts[0].merge(LatencyHistogram.from_counts(parts[1].to_counts()))
    assert parts[0].to_counts() == parts[2].to_counts()
    assert parts[0].count == len(one) + len(other)


def test_an_empty_histogram_has_no_quantile() -> None:
    assert math.isnan(LatencyHistogram().quantile_us(0.5))


@pytest.mark.parametrize("name", ["", "A", "a/b", ".a", "a b", "a" * 64, "é"])
def test_names_that_can_not_stand_in_a_key_are_refused(name: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="region"):
        check_name("region", name)


def test_ids_differ() -> None:
    assert new_id("run").startswith("run-")
    assert new_id("run") != new_id("run")
    assert len(new_stream_id()) == 16


def test_an_atomic_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "text, not bytes")  # type: ignore[arg-type]  # the mistake under test
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    write_atomic(path, b"new")
    assert sha256_file(path) == sha256_hex(b"new")


def test_every_family_has_a_status_and_leaves_inherit_it() -> None:
    families = set(errors.NervureError.__subclasses__())
    assert families == set(CATALOGUE)
    assert status_of(LogFull("full", used_bytes=1)) == CATALOGUE[errors.WorldError]
    assert status_of(KeyError("x")).grpc is grpc.StatusCode.UNKNOWN
    assert not status_of(errors.InternalError("secret")).public


def test_errors_survive_the_trip_between_processes() -> None:
    error = LogFull("full", used_bytes=7, hint="free space")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.message, copy.used_bytes, copy.hint) == (LogFull, "full", 7, "free space")


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("0.0.0.0:1", False),
        ("10.0.0.1:1", False),
        ("hub:1", False),
    ],
)
def test_loopback_addresses_are_told_apart(address: str, loopback: bool) -> None:
    assert transport.is_loopback(address) is loopback


async def test_nothing_is_served_in_the_clear_beyond_loopback_by_accident() -> None:
    server = transport.server()
    with pytest.raises(errors.ConfigurationError, match="not a loopback address"):
        transport.listen(server, "0.0.0.0:0")
    assert transport.listen(server, "127.0.0.1:0") > 0
    await server.stop(None)


def test_missing_tls_files_are_named(tmp_path: Path) -> None:
    files = transport.TlsFiles(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
    with pytest.raises(errors.ConfigurationError, match=r"ca\.pem: No such file"):
        files.read()
