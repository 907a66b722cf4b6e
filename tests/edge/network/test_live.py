from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from nervure_core.errors import ConfigurationError, WorldError
from nervure_edge.network.flow import Flow
from nervure_edge.network.live import LiveCapture, MayNotCapture, NoSuchInterface
from nervure_edge.network.meter import MeterSettings
from nervure_edge.network.sources import LiveSource

_CLONE_NEWNET = 0x4000_0000


def in_own_network(story: Callable[[], None]) -> None:
    """Run a story in a thread with a network namespace of its own, in which only its loopback is up."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_CLONE_NEWNET):
                pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            story()
        except BaseException as failure:  # noqa: BLE001 - handed to the test's own thread
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def say(words: list[bytes]) -> tuple[int, int]:
    """Send datagrams over the loopback; return the ports of both ends."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        for word in words:
            sender.sendto(word, receiver.getsockname())
        return sender.getsockname()[1], receiver.getsockname()[1]


@pytest.mark.netns
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux and root")
def test_packets_of_an_interface_become_flows() -> None:
    def story() -> None:
        before_us = time.time_ns() // 1000
        source = LiveSource("lo", MeterSettings(idle_s=0.05))
        assert source.read(10, 0.0) == []
        sport, dport = say([b"x" * size for size in (1, 10, 1000)])
        flows: list[Flow] = []
        while not flows:  # the idle time-out is short: ends by itself
            flows += source.read(10, 0.05) or []
        (flow,) = flows
        assert (flow.src, flow.dst, flow.sport, flow.dport, flow.proto) == (
            "127.0.0.1",
            "127.0.0.1",
            sport,
            dport,
            "udp",
        )
        assert (flow.spkts, flow.sbytes) == (3, 3 * 28 + 1011), "once each, with the whole length of long frames"
        assert before_us <= flow.start_us <= time.time_ns() // 1000
        assert source.stats()["dropped"] == 0
        source.close()
        source.close()
        assert source.stats()["dropped"] == 0

    in_own_network(story)


@pytest.mark.netns
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux and root")
def test_what_the_kernel_drops_is_counted_and_polls_are_bounded() -> None:
    def story() -> None:
        with LiveCapture("lo", buffer_bytes=4096) as capture:
            say([b"x"] * 500)
            block = capture.poll(5, 0.1)
            assert block is not None
            assert len(block.records) <= 5
            assert capture.dropped > 400
            assert capture.dropped > 400  # the kernel forgets at every reading, we don't

    in_own_network(story)


@pytest.mark.netns
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux and root")
def test_an_interface_that_goes_down() -> None:
    def story() -> None:
        with LiveCapture("lo") as capture:
            subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
            with pytest.raises(NoSuchInterface, match="it is down"):
                capture.poll(10, 10)

    in_own_network(story)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_interfaces_that_cannot_be_captured() -> None:
    with pytest.raises((NoSuchInterface, MayNotCapture)) as caught:
        LiveCapture("nervure-none")
    assert isinstance(caught.value, WorldError)
    assert caught.value.hint


@pytest.mark.skipif(sys.platform == "linux", reason="about other systems")
def test_other_systems() -> None:
    with pytest.raises(ConfigurationError, match="needs Linux"):
        LiveCapture("en0")
