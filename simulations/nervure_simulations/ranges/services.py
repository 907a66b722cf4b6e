"""The servers of a site: real ones where Debian has them, scripted ones for the rest.

Rules:
    1. Configuration is text made by pure functions; starting is `start_services`, which returns when every TCP port
       listens (read from /proc, no probe is sent: a probe would be in the capture).
    2. Keys, certificate and passwords are made anew for each range and removed with it.
"""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nervure_simulations.ranges.site_plan import Server, SitePlan
from nervure_simulations.ranges.tools import search_path
from nervure_simulations.ranges.world import RangeFailed, World

MQTT_PASSWORD = "range-device"  # noqa: S105 - a password of a broker that lives for a minute in its own namespace
_REAL = frozenset({"dns", "mqtt", "ssh", "ftp", "ping"})


@dataclass(frozen=True, slots=True)
class Secrets:
    """Files made once for a range and shared by its sites."""

    folder: Path
    host_key: Path
    user_key: Path
    wrong_key: Path
    certificate: Path
    certificate_key: Path
    mqtt_passwords: Path
    words: Path
    ftp_root: Path


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env={"PATH": search_path()})
    if done.returncode != 0:
        raise RangeFailed(f"{' '.join(command)}: {done.stderr.strip()}")


def make_secrets(folder: Path) -> Secrets:
    """Make keys, a certificate, passwords, a list of guesses and the FTP server's files."""
    # vsftpd's anonymous user must be able to walk here; both daemons insist on an empty folder to lock themselves into.
    folder.chmod(0o755)
    for path in ("/run/sshd", "/var/run/vsftpd/empty"):
        Path(path).mkdir(parents=True, exist_ok=True)
    keys = [folder / name for name in ("host_key", "user_key", "wrong_key")]
    for key in keys:
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    certificate, certificate_key = folder / "certificate.pem", folder / "certificate.key"
    _run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=range.test", "-keyout", str(certificate_key), "-out", str(certificate),
    )  # fmt: skip
    passwords = folder / "mqtt_passwords"
    _run("mosquitto_passwd", "-c", "-b", str(passwords), "device", MQTT_PASSWORD)
    words = folder / "words"
    words.write_text("".join(f"guess{number:02d}\n" for number in range(36)))
    ftp_root = folder / "ftp"
    (ftp_root / "pub").mkdir(parents=True)
    (ftp_root / "incoming").mkdir()
    (ftp_root / "pub" / "image.bin").write_bytes(bytes(300_000))
    for open_to_all in (ftp_root, ftp_root / "pub"):
        open_to_all.chmod(0o755)
    (ftp_root / "incoming").chmod(0o777)
    return Secrets(folder, keys[0], keys[1], keys[2], certificate, certificate_key, passwords, words, ftp_root)


def sshd_config(server: Server, secrets: Secrets) -> str:
    """Return the settings of one sshd."""
    return (
        f"ListenAddress {server.address}:{server.port}\nHostKey {secrets.host_key}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {secrets.user_key}.pub\nStrictModes no\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication yes\nKbdInteractiveAuthentication no\nLoginGraceTime 10\nMaxAuthTries 2\nMaxStartups 60\nUseDNS no\nPrintMotd no\n"
    )


def vsftpd_config(server: Server, secrets: Secrets) -> str:
    """Return the settings of one vsftpd."""
    return (
        f"listen=YES\nlisten_address={server.address}\nlisten_port={server.port}\nbackground=NO\nanonymous_enable=YES\n"
        f"anon_root={secrets.ftp_root}\nwrite_enable=YES\nanon_upload_enable=YES\nlocal_enable=YES\nno_anon_password=YES\n"
        "seccomp_sandbox=NO\nisolate_network=NO\nsecure_chroot_dir=/var/run/vsftpd/empty\npam_service_name=vsftpd\n"
        "xferlog_enable=NO\nmax_login_fails=1\ndelay_failed_login=0\nconnect_from_port_20=NO\n"
    )


def mosquitto_config(server: Server, secrets: Secrets) -> str:
    """Return the settings of one broker."""
    return (
        f"listener {server.port} {server.address}\nallow_anonymous false\npassword_file {secrets.mqtt_passwords}\n"
        "user root\npersistence false\nlog_type error\n"
    )


def dnsmasq_command(server: Server) -> list[str]:
    """Return the command line of one name server."""
    return [
        "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--user=root",
        f"--listen-address={server.address}", f"--port={server.port}", "--bind-interfaces", "--local=/test/", "--local=/lan/",
        "--address=/range.test/100.64.0.9", "--address=/printer.lan/192.168.7.7", "--cache-size=0",
    ]  # fmt: skip


async def start_services(world: World, plan: SitePlan, secrets: Secrets, folder: Path) -> None:
    """Start every server of a site and wait until they listen.

    Raises:
        RangeFailed: One did not become ready in time; the message names it and its log.
    """
    commands: list[tuple[str, list[str]]] = []
    for server in plan.servers:
        config = folder / f"{server.service}-{server.address}.conf"
        if server.service == "ssh":
            config.write_text(sshd_config(server, secrets))
            sshd = shutil.which("sshd", path=search_path()) or "sshd"  # sshd insists on an absolute path
            commands.append(("ssh", [sshd, "-D", "-e", "-f", str(config)]))
        elif server.service == "ftp":
            config.write_text(vsftpd_config(server, secrets))
            commands.append(("ftp", ["vsftpd", str(config)]))
        elif server.service == "mqtt":
            config.write_text(mosquitto_config(server, secrets))
            commands.append(("mqtt", ["mosquitto", "-c", str(config)]))
        elif server.service == "dns":
            commands.append(("dns", dnsmasq_command(server)))
    for name, command in commands:
        await world.start("srv", command, log=folder / f"{name}.log")
    scripted: list[list[str | int]] = [[s.service, s.address, s.port] for s in plan.servers if s.service not in _REAL]
    await _start_scripted(world, "srv", scripted, secrets, folder, plan.servers)
    if "dns_tunnel" in plan.attacks:
        await _start_scripted(world, "adv", [["tunnel", plan.addresses.drop_point, 53]], secrets, folder, ())


async def _start_scripted(
    world: World, role: str, rows: list[list[str | int]], secrets: Secrets, folder: Path, wait_for: Iterable[Server]
) -> None:
    request = {"certificate": str(secrets.certificate), "key": str(secrets.certificate_key), "servers": rows}
    log = folder / f"servers-{role}.log"
    process = await world.start(
        role, [sys.executable, "-m", "nervure_simulations.ranges.servers"], log=log, stdin=json.dumps(request).encode()
    )
    wanted = {(s.address, s.port) for s in wait_for if s.service in {"ssh", "ftp", "mqtt", "http", "https"}}
    try:
        async with asyncio.timeout(20.0):
            while b"ready" not in log.read_bytes() or not wanted <= listening(process.pid):
                if process.returncode is not None:
                    raise RangeFailed(f"the scripted servers ended: {log.read_text()[-400:]}")
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        late = sorted(f"{address}:{port}" for address, port in wanted - listening(process.pid))
        raise RangeFailed(f"servers did not become ready: {', '.join(late) or role}") from error


def listening(pid: int) -> set[tuple[str, int]]:
    """Return the IPv4 TCP addresses that anybody listens on in the namespace of a process."""
    found: set[tuple[str, int]] = set()
    try:
        rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return found
    for row in rows:
        fields = row.split()
        if fields[3] == "0A":
            address, port = fields[1].split(":")
            octets = bytes.fromhex(address)[::-1]
            found.add((".".join(map(str, octets)), int(port, 16)))
    return found
