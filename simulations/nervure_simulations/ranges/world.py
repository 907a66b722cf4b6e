"""One site as network namespaces: a bridge nobody else can see, and the namespaces plugged into it.

Rules:
    1. Nothing of a site touches the machine's own network: every interface is born inside a namespace, there is no
       route out, and forwarding is off. What an attacker sends to an address nobody has ends in silence.
    2. `async with World(...)` owns everything: on the way out, also by Ctrl-C or an error, every process is killed and
       every namespace removed. Processes die with the command that started them (`setpriv --pdeathsig`), and the next
       run removes namespaces that a killed command left behind.
    3. Names are `nervure-<pid>-<site number>-<role>`: the pid tells whose they are.

Roles: `hub` holds the bridge and the capture; `srv` the servers; `lan` the devices; `bot` a device that an attacker
owns too; `adv` the attackers.
"""

import asyncio
import contextlib
import logging
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from nervure_core.errors import WorldError
from nervure_simulations.ranges.site_plan import SitePlan
from nervure_simulations.ranges.tools import search_path

logger = logging.getLogger(__name__)

PREFIX = "nervure-"
ROLES: tuple[str, ...] = ("srv", "lan", "bot", "adv")


class RangeFailed(WorldError):
    """A program of the range failed or did not become ready."""

    code = "range_failed"


def run_ip(*arguments: str) -> None:
    """Run one `ip` command.

    Raises:
        RangeFailed: It failed; the message holds what it said.
    """
    done = subprocess.run(
        ["ip", *arguments], capture_output=True, text=True, check=False, timeout=20, env={"PATH": search_path()}
    )
    if done.returncode != 0:
        raise RangeFailed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def remove_stale_namespaces() -> int:
    """Remove namespaces of ranges whose process is gone, and return how many."""
    removed = 0
    folder = Path("/run/netns")
    for entry in folder.glob(f"{PREFIX}*-*-*") if folder.is_dir() else ():
        owner = entry.name.removeprefix(PREFIX).split("-", 1)[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            with contextlib.suppress(RangeFailed):
                run_ip("netns", "del", entry.name)
                removed += 1
    return removed


class World:
    """The namespaces and processes of one site.

    Args:
        plan: The site.
        number: Number of the site in this range, part of the namespaces' names.
    """

    def __init__(self, plan: SitePlan, number: int) -> None:
        self._plan = plan
        self._number = number
        self._made: list[str] = []
        self._processes: list[asyncio.subprocess.Process] = []

    def namespace(self, role: str) -> str:
        """Return the name of the namespace with this role."""
        return f"{PREFIX}{os.getpid()}-{self._number}-{role}"

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._build)
        except BaseException:
            await self._tear_down()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tear_down()

    async def start(
        self, role: str, command: Sequence[str], *, log: Path, stdin: bytes | None = None
    ) -> asyncio.subprocess.Process:
        """Start a program in a namespace; it is killed when the world ends, at the latest.

        Args:
            role: Namespace.
            command: Program and arguments.
            log: File that takes both of its outputs.
            stdin: What to write to it; None: nothing, and its input is closed.
        """
        wrapped = ["ip", "netns", "exec", self.namespace(role), "setpriv", "--pdeathsig", "KILL", "--", *command]
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *wrapped,
                stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, "PATH": search_path()},
                cwd=log.parent,
                start_new_session=True,
            )
        self._processes.append(process)
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            await process.stdin.drain()
            process.stdin.close()
        return process

    async def stop(self, process: asyncio.subprocess.Process, *, signal: int, within_s: float = 5.0) -> None:
        """Ask a program to end, and kill its whole group where it does not."""
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal)
            try:
                async with asyncio.timeout(within_s):
                    await process.wait()
            except TimeoutError:
                _kill_group(process.pid)
                await process.wait()

    def _build(self) -> None:
        addresses = self._plan.addresses
        for role in ("hub", *ROLES):
            run_ip("netns", "add", self.namespace(role))
            self._made.append(self.namespace(role))
            self._shell(
                role,
                "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6;"
                "echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/icmp_ratelimit;"
                "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter",
            )
        hub = self.namespace("hub")
        run_ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        run_ip("-n", hub, "link", "set", "bridge", "up")
        for role in ROLES:
            leaf = self.namespace(role)
            run_ip("link", "add", "eth0", "netns", leaf, "type", "veth", "peer", "name", role, "netns", hub)
            run_ip("-n", hub, "link", "set", role, "master", "bridge", "up")
            # One segment a packet: else the kernel hands 64 KiB "packets" to the capture, which no wire carries.
            run_ip("-n", leaf, "link", "set", "eth0", "gso_max_segs", "1")
            run_ip("-n", leaf, "link", "set", "lo", "up")
            run_ip("-n", leaf, "link", "set", "eth0", "up")
        homes = {
            "srv": tuple(dict.fromkeys((*addresses.servers,))),
            "lan": tuple(device.address for device in self._plan.devices if device.home == "lan"),
            "bot": tuple(device.address for device in self._plan.devices if device.home == "bot"),
            "adv": (addresses.attacker, addresses.drop_point),
        }
        for role, own in homes.items():
            for address in own:
                run_ip("-n", self.namespace(role), "address", "add", f"{address}/32", "dev", "eth0")
        for role, own in homes.items():
            for other, theirs in homes.items():
                if own and other != role:
                    for address in theirs:
                        self._route(role, f"{address}/32", own[0])
        # Addresses of the lan that nobody has: packets go to the servers' namespace, which forwards nothing.
        for role in ("lan", "bot", "adv"):
            if homes[role]:
                self._route(role, addresses.lan, homes[role][0], via=addresses.servers[0])
        for role in ("srv", "lan", "bot"):
            if homes[role]:
                self._route(role, addresses.botnet, homes[role][0])
                run_ip("-n", self.namespace(role), "route", "add", "224.0.0.0/4", "dev", "eth0")
        if addresses.botnet_answers:
            # "local" makes the whole network ours: replies to forged addresses are refused, as by innocent hosts.
            run_ip("-n", self.namespace("adv"), "route", "add", "local", addresses.botnet, "dev", "lo")

    def _route(self, role: str, network: str, source: str, via: str = "") -> None:
        hop = ("via", via, "dev", "eth0", "onlink") if via else ("dev", "eth0")
        run_ip("-n", self.namespace(role), "route", "add", network, *hop, "src", source)

    def _shell(self, role: str, script: str) -> None:
        # Some settings are absent in some kernels: what is missing is not needed there.
        subprocess.run(
            ["ip", "netns", "exec", self.namespace(role), "sh", "-c", script],
            capture_output=True,
            check=False,
            timeout=20,
            env={"PATH": search_path()},
        )

    async def _tear_down(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                _kill_group(process.pid)
        for process in self._processes:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5.0):
                    await process.wait()
        for name in reversed(self._made):
            try:
                run_ip("netns", "del", name)
            except (RangeFailed, subprocess.TimeoutExpired) as error:
                logger.warning("namespace %s stays: %s", name, error)
        self._made.clear()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, 9)
