"""Children are started, watched and stopped; real processes throughout."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from nervure_simulations.servers import Child, ChildError, ChildSpec, Supervisor, etcd_server, kill_now
from nervure_simulations.servers.child import json_ready

READY = 'print(\'{"event": "ready", "pid": 7}\', flush=True);'
WAIT = "import signal; signal.pause()"


def python(name: str, code: str, **more: object) -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-c", code), ready=json_ready, **more)  # type: ignore[arg-type]  # test shorthand


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


async def run_until_it_fails(logs: Path, spec: ChildSpec) -> None:
    async with Supervisor(logs) as supervisor:
        await supervisor.start(spec)
        await asyncio.Event().wait()


async def test_a_child_says_ready_and_is_stopped_with_its_supervisor(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "logs") as supervisor:
        child = await supervisor.start(python("one", READY + WAIT))
        assert child.answer["pid"] == 7
        assert child.returncode is None
    assert child.returncode == -signal.SIGTERM
    assert '"ready"' in (tmp_path / "logs" / "one.log").read_text()


async def test_a_child_that_ends_early_cancels_the_body_and_names_its_log(tmp_path: Path) -> None:
    code = READY + "import sys; sys.stderr.write('no disk left\\n'); sys.exit(3)"
    with pytest.raises(ChildError) as caught:
        await run_until_it_fails(tmp_path, python("frail", code))
    assert "frail ended by itself (exit code 3)" in caught.value.message
    assert str(tmp_path / "frail.log") in caught.value.message


async def test_a_child_that_fails_before_ready_tells_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ChildError) as caught:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(python("frail", "import sys; sys.exit('port 7443 is in use')"))
    assert caught.value.hint == "it said: port 7443 is in use"


async def test_a_child_that_is_never_ready_is_given_up_and_stopped(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="mute was not ready within 0 s"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(python("mute", WAIT), within_s=0.2)
    assert not [child for child in psutil.Process().children() if WAIT in command_of(child)]


async def test_a_command_that_does_not_exist_fails_by_name(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="ghost ended by itself"):
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(ChildSpec("ghost", (str(tmp_path / "nothing"),), ready=json_ready))


async def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + READY + "\nwhile True: signal.pause()"
    async with Supervisor(tmp_path) as supervisor:
        child = await supervisor.start(python("stubborn", code, grace_s=0.2))
    assert child.returncode == -signal.SIGKILL


async def test_an_expected_death_is_no_failure_and_takes_the_whole_tree(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
        'print(\'{"event": "ready", "child": %d}\' % p.pid, flush=True); p.wait()'
    )
    async with Supervisor(tmp_path) as supervisor:
        child: Child = await supervisor.start(python("tree", code))
        grandchild = psutil.Process(int(child.answer["child"]))
        child.expect_end()
        assert kill_now([child.pid, 2**22 + 1]) == 2
        await child.wait()
        psutil.wait_procs([grandchild], timeout=10)
        assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
    assert child.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_children_of_a_killed_supervisor_stop_by_themselves(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from nervure_simulations.servers import ChildSpec, Supervisor
from nervure_simulations.servers.child import json_ready
async def main():
    async with Supervisor(Path({str(tmp_path)!r})) as supervisor:
        argv = (sys.executable, "-c", {READY + WAIT!r})
        child = await supervisor.start(ChildSpec("left", argv, ready=json_ready))
        print(child.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    outer = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert outer.stdout is not None
    left = psutil.Process(int(await outer.stdout.readline()))
    os.kill(outer.pid, signal.SIGKILL)
    await outer.wait()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, [left], 10)
    assert gone or alive[0].status() == psutil.STATUS_ZOMBIE


@pytest.mark.etcd
async def test_a_real_etcd_serves_on_a_free_port_and_keeps_its_data(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "logs") as supervisor:
        server = await etcd_server(supervisor, data=tmp_path / "etcd")
        assert int(server.endpoint.rpartition(":")[2]) > 0
        assert server.url == f"etcd://{server.endpoint}"
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://{server.endpoint}/health")
        assert answer.json()["health"] == "true"
    assert (tmp_path / "etcd" / "member").is_dir()


def test_ready_lines_are_told_from_other_output() -> None:
    assert json_ready('{"event": "ready", "grpc": "h:1"}') == {"event": "ready", "grpc": "h:1"}
    assert json_ready('{"event": "started"}') is None
    assert json_ready("{broken") is None
    assert json_ready("ready") is None


async def test_a_dead_child_is_noticed_though_its_own_child_holds_the_pipe(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        'print(\'{"event": "ready"}\', flush=True); sys.exit(9)'
    )
    with pytest.raises(ChildError, match="exit code 9"):
        async with asyncio.timeout(20):
            await run_until_it_fails(tmp_path, python("parent", code))


async def test_the_others_are_stopped_when_one_fails(tmp_path: Path) -> None:
    async def run() -> None:
        async with Supervisor(tmp_path) as supervisor:
            children.append(await supervisor.start(python("steady", READY + WAIT)))
            await supervisor.start(python("frail", READY + "import sys; sys.exit(3)"))
            await asyncio.Event().wait()

    children: list[Child] = []
    with pytest.raises(ChildError, match="frail"):
        async with asyncio.timeout(20):
            await run()
    assert children[0].returncode == -signal.SIGTERM
