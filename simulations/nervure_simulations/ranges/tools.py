"""The programs a range needs, and one clear error naming all that are missing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType

from nervure_core.errors import ConfigurationError

TOOLS: Mapping[str, str] = MappingProxyType(
    {
        "ip": "iproute2",
        "setpriv": "util-linux",
        "tcpdump": "tcpdump",
        "nmap": "nmap",
        "hydra": "hydra",
        "hping3": "hping3",
        "dnsmasq": "dnsmasq",
        "mosquitto": "mosquitto",
        "mosquitto_passwd": "mosquitto",
        "mosquitto_pub": "mosquitto-clients",
        "mosquitto_sub": "mosquitto-clients",
        "sshd": "openssh-server",
        "ssh": "openssh-client",
        "ssh-keygen": "openssh-client",
        "vsftpd": "vsftpd",
        "curl": "curl",
        "openssl": "openssl",
    }
)
"""Debian package of each program."""

_ASK_VERSION: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ip": ("-V",),
        "tcpdump": ("--version",),
        "nmap": ("--version",),
        "hydra": ("-h",),
        "hping3": ("--version",),
        "dnsmasq": ("--version",),
        "mosquitto": ("-h",),
        "ssh": ("-V",),
        "curl": ("--version",),
    }
)


def search_path() -> str:
    """Return PATH with the folders where Debian keeps administrators' programs."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin"])


def missing_tools(path: str) -> dict[str, str]:
    """Return the programs that are not on a search path, with the Debian package of each."""
    return {tool: package for tool, package in TOOLS.items() if shutil.which(tool, path=path) is None}


def require_range_host(*, platform: str = sys.platform, user: int | None = None, path: str | None = None) -> None:
    """Check that a range can run here.

    Args:
        platform: As in `sys.platform`.
        user: Effective user; None: who runs this.
        path: Where to look for programs; None: `search_path`.

    Raises:
        ConfigurationError: Not Linux, not root, or programs are missing; the hint says how to install them all.
    """
    if platform != "linux":
        raise ConfigurationError(f"a range needs Linux, this is {platform}", hint="use the shipped sites instead")
    if (os.geteuid() if user is None else user) != 0:
        raise ConfigurationError("a range needs root, to make network namespaces", hint="run it with sudo")
    missing = missing_tools(search_path() if path is None else path)
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise ConfigurationError(
            f"programs are missing: {', '.join(sorted(missing))}",
            hint=f"apt-get install --no-install-recommends {packages}",
        )


def tool_versions() -> dict[str, str]:
    """Return the first line that says a version, for each program that generates or records traffic."""
    versions: dict[str, str] = {}
    for tool, question in _ASK_VERSION.items():
        path = shutil.which(tool, path=search_path())
        if path is None:
            continue
        try:
            done = subprocess.run(
                [path, *question], capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if any(c.isdigit() for c in line)]
        versions[tool] = lines[0][:80] if lines else "unknown"
    return versions
