"""The real command in a process of its own: killed, restarted, refused, and light."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

from tests.edge.conftest import write_rows
from tests.edge.hub_twin import HubTwin

from nervure_core.bundle import Bundle

COMMAND = [sys.executable, "-m", "nervure_core.command", "agent", "run"]


async def start(*arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=PIPE, stderr=PIPE, stdin=PIPE)


async def finish(*arguments: str, stdin: bytes = b"") -> tuple[int, list[Any], str]:
    """Run to the end; return the exit status, the JSON lines of standard output, and standard error."""
    process = await start(*arguments)
    async with asyncio.timeout(30):
        out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


def arguments(rows: Path, bundle: Bundle, data: Path, *more: str) -> list[str]:
    given = ["--input", str(rows), "--option", "label=label", "--model", str(bundle.folder), "--data", str(data)]
    return [*given, "--id", "agent-1", "--json", *more]


async def test_killed_and_restarted_delivers_every_event_once(rows: Path, bundle: Bundle, tmp_path: Path) -> None:
    write_rows(rows, 100_000)
    given = arguments(rows, bundle, tmp_path / "data")
    async with HubTwin() as hub:
        for turn in range(3):
            process = await start(*given, "--hub", hub.address)
            wanted = len(hub.events("agent-1")) + 500
            await hub.wait_for(lambda: len(hub.events("agent-1")) >= wanted)  # noqa: B023 - awaited in this turn
            if turn == 2:
                hub.acknowledges = False  # spools, sends, and dies before it hears that anything is durable
                wanted = len(hub.events("agent-1")) + 500
                await hub.wait_for(lambda: len(hub.events("agent-1")) >= wanted)  # noqa: B023 - awaited in this turn
            process.kill()
            await process.communicate()
            await hub.wait_for(lambda: hub.open_sessions == 0)
        hub.acknowledges = True
        write_rows(rows, 10)
        code, lines, err = await finish(*given, "--hub", hub.address, "--once")
        assert code == 0, err
        assert lines[-1]["events"]["pending"] == 0
        (numbers,) = hub.stored.values()
        # One stream, no hole: every event that was ever spooled is here, under its own number, once.
        assert sorted(numbers) == list(range(len(numbers)))
        assert hub.lost == []
        assert len(hub.hellos) == 4


async def test_ready_summary_and_a_signal(rows: Path, bundle: Bundle, tmp_path: Path) -> None:
    async with HubTwin() as hub:
        process = await start(*arguments(rows, bundle, tmp_path / "data", "--hub", hub.address))
        assert process.stdout is not None
        ready = json.loads(await process.stdout.readline())
        assert (ready["event"], ready["agent"], ready["model"]) == ("ready", "agent-1", "flows")
        await hub.wait_for(lambda: len(hub.events("agent-1")) == 1000)
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()
        summary = json.loads(out.splitlines()[-1])
        assert process.returncode == 0
        assert summary["events"] == {"produced": 1000, "acknowledged": 1000, "lost": 0, "pending": 0}
        await hub.wait_for(lambda: hub.goodbyes)


async def test_rows_from_standard_input_without_a_hub(bundle: Bundle, tmp_path: Path) -> None:
    given = ["--input", "-", "--model", str(bundle.folder), "--data", str(tmp_path / "d"), "--json", "--print", "all"]
    code, lines, err = await finish(*given, stdin=b'{"a": 1, "b": 0, "c": 0}\n{"a": -1, "b": 0, "c": 0}\n{"a": 1}\n')
    assert code == 0, err
    assert [line["label"] for line in lines if line["event"] == "finding"] == ["attack", "benign"]
    assert lines[-1]["source"] == {"rows": 3, "malformed": 1, "state": "ended"}


async def test_failures_have_their_exit_status_one_message_and_no_traceback(
    rows: Path, bundle: Bundle, tmp_path: Path
) -> None:
    data = ["--data", str(tmp_path / "data"), "--id", "a"]
    model = ["--model", str(bundle.folder)]
    broken = tmp_path / "broken"
    broken.mkdir()
    async with HubTwin() as other, HubTwin() as dead:
        other.protocol = 2
        await dead.kill()
        slow = ["--config", str(tmp_path / "fast.toml")]
        (tmp_path / "fast.toml").write_text("[session]\ndrain_timeout_s = 0.1\nconnect_timeout_s = 0.1\n")
        cases: dict[str, tuple[list[str], int, str]] = {
            "no model, no hub": (["--input", str(rows)], 2, "neither a model nor a hub"),
            "two sources": (["--input", "x", "--pcap", "y", *model], 2, "contradict"),
            "bad hub": (["--input", str(rows), "--hub", "nowhere"], 2, "host:port"),
            "no bundle": (["--input", str(rows), "--model", str(broken)], 3, "no bundle here"),
            "no file": (["--input", "/nowhere.csv", *model], 3, "/nowhere.csv"),
            "no such column": (["--input", str(rows), *model, "--option", "label=species"], 3, "species"),
            "no workload": (["--workload", "smell", *model], 2, "'smell'"),
            "other version": (["--input", str(rows), *model, "--hub", other.address, "--once"], 4, "protocol 2"),
            "no hub there": (["--input", str(rows), *model, "--hub", dead.address, "--once", *slow], 5, "delivered"),
        }
        for name, (given, status, message) in cases.items():
            code, _, err = await finish(*given, *data, "--json")
            assert code == status, (name, err)
            (line,) = [line for line in err.splitlines() if line.startswith("{")]
            assert message in json.loads(line)["error"]["message"], name
            assert "Traceback" not in err, name


async def test_the_command_imports_nothing_heavy() -> None:
    check = (
        "import sys, nervure_edge.commands.agent, nervure_edge.commands.running, nervure_edge.uplink\n"
        "import nervure_edge.workloads.table\n"
        "print(*sorted(set(sys.modules) & {'ray', 'flwr', 'onnx', 'onnxruntime', 'numpy', 'pyarrow', 'deltalake',"
        " 'fastapi', 'duckdb', 'rich'}))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", check, stdout=PIPE)
    out, _ = await process.communicate()
    assert out.decode().split() == []
