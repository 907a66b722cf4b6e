"""The commands over a real HTTP server on twins: what people and scripts see."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.support.bundles import classifier, make_bundle
from tests.support.hub import agent_record
from tests.support.serving import ServedHub, serve_hub

from nervure_core.bundle import INFER
from nervure_core.command import main

EVENT = {
    "hub_time_us": 1_700_000_000_000_000, "stream": "ab", "seq": 1, "region": "europe", "agent": "camera-1",
    "kind": "finding", "time_us": 1_700_000_000_000_000, "workload": "network", "subject": "10.0.0.1 \x1b[2J",
    "label": "dos", "score": 0.93, "action": "block", "model": "flows", "release": 3, "latency_us": 50.0, "detail": "{}",
}  # fmt: skip


@dataclass
class Run:
    """What one command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """Runs ``nervure`` in this process, against one hub."""

    hub: ServedHub
    variables: dict[str, str] = field(default_factory=dict[str, str])

    def __call__(self, *words: str, api: str | None = None) -> Run:
        out, err = io.StringIO(), io.StringIO()
        given = [] if words[:2] == ("models", "pack") else ["--api", api or self.hub.url]
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
            main([*words, *given])
        code = left.value.code
        assert isinstance(code, int)
        assert "Traceback" not in err.getvalue()
        return Run(code, out.getvalue(), err.getvalue())


@pytest.fixture
def shell() -> Iterator[Shell]:
    with serve_hub() as hub:
        hub.fleet.add(
            agent_record("camera-1", labels={"site": "hall"}),
            agent_record("camera-2", state="gone", home_region="asia"),
            agent_record("meter-1", workload="table", status=None),
        )
        yield Shell(hub)


def test_devices_are_a_table_for_people_and_json_for_machines(shell: Shell) -> None:
    shown = shell("devices")
    assert shown.code == 0
    for word in ("DEVICE", "camera-1", "asia → europe", "gone", "8/9", "meter-1"):
        assert word in shown.out
    assert shell("devices", "list").out.splitlines()[0] == shown.out.splitlines()[0]
    found = shell("devices", "--json", "--state", "live", "--label", "site=hall").json()
    assert [device["agent_id"] for device in found["devices"]] == ["camera-1"]


def test_one_device_is_shown_and_an_unknown_one_is_an_error(shell: Shell) -> None:
    assert "p99" in shell("devices", "show", "camera-1").out
    assert shell("devices", "show", "meter-1", "--json").json()["status"] is None
    missing = shell("devices", "show", "no/body")
    assert missing.code == 3
    assert "error:" in missing.err
    as_json = shell("devices", "show", "nobody", "--json")
    assert json.loads(as_json.err)["error"]["code"] == "device-missing"
    assert as_json.out == ""


def test_questions_are_answered_as_table_csv_and_json(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.hub.lake.rows = [("dos", 41), ('with "quotes", comma', 7)]
    shown = shell("events", "query", "SELECT 1")
    assert "dos" in shown.out
    assert "2 rows" in shown.out
    rows = list(csv.reader(io.StringIO(shell("events", "query", "SELECT 1", "--csv").out)))
    assert rows == [["label", "n"], ["dos", "41"], ['with "quotes", comma', "7"]]
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 2"))
    assert shell("events", "query", "-", "--json").json()["rows"][0] == ["dos", 41]
    assert shell.hub.lake.asked[-1] == "SELECT 2"


def test_a_cut_answer_says_so(shell: Shell) -> None:
    shell.hub.lake.rows = [("dos", number) for number in range(9)]
    assert "there are more" in shell("events", "query", "SELECT 1").out
    assert "only the first 9" in shell("events", "query", "SELECT 1", "--csv").err


def test_wrong_sql_is_one_clear_message(shell: Shell) -> None:
    wrong = shell("events", "query", "SELEKT 1")
    assert wrong.code == 3
    assert "SELEKT" in wrong.err
    assert "hint" in wrong.err
    assert shell("events", "query", "SELECT 1", "--csv", "--json").code == 2


def test_tail_prints_lines_that_move_no_cursor(shell: Shell) -> None:
    shell.hub.lake.answer = lambda sql: (
        (("newest",), [(EVENT["hub_time_us"],)]) if "max(" in sql else (tuple(EVENT), [tuple(EVENT.values())])
    )
    shown = shell("events", "tail", "--limit", "1")
    assert shown.code == 0
    for word in ("europe/camera-1", "dos", "0.930", "[block]", "flows/3"):
        assert word in shown.out
    assert "\x1b" not in shown.out
    assert shell("events", "tail", "--limit", "1", "--json").json() == EVENT


def test_a_bundle_is_packed_pushed_deployed_and_listed(shell: Shell, tmp_path: Path) -> None:
    model = tmp_path / "detector.onnx"
    model.write_bytes(classifier().SerializeToString())
    words = ("--name", "detector", "--workload", "network", "--label", "benign", "--label", "attack")
    packed = shell("models", "pack", str(model), "--out", str(tmp_path / "bundle"), *words)
    assert packed.code == 0, packed.err
    assert "softmax of probabilities" in packed.out
    assert shell("models", "show", str(tmp_path / "bundle")).out.startswith("model")
    pushed = shell("models", "push", str(tmp_path / "bundle"), "--deploy", "--label", "site=hall")
    assert pushed.code == 0, pushed.err
    assert "pushed detector/1" in pushed.out
    assert "1 live agent of this hub" in pushed.out
    listed = shell("models", "list")
    assert "site=hall" in listed.out
    assert [item["release"] for item in shell("models", "list", "--json").json()["models"]] == [1]
    assert shell("models", "show", "detector", "--json").json()["name"] == "detector"
    deployed = shell("models", "deploy", "detector", "--region", "europe", "--json").json()
    assert deployed["deployment"]["selector"]["regions"] == ["europe"]


def test_a_bundle_that_is_not_right_is_refused_before_or_by_the_hub(shell: Shell, tmp_path: Path) -> None:
    damaged = make_bundle(tmp_path / "damaged")
    damaged.path(INFER).write_bytes(b"x" + damaged.path(INFER).read_bytes()[1:])
    for folder, word in ((tmp_path / "absent", "absent"), (damaged.folder, "SHA-256")):
        answer = shell("models", "push", str(folder))
        assert answer.code == 3
        assert word in answer.err
    broken = make_bundle(tmp_path / "broken", files={INFER: b"\x08\x09nonsense"})
    refused = shell("models", "push", str(broken.folder), "--deploy")
    assert refused.code == 3
    assert "infer.onnx" in refused.err
    newer = make_bundle(tmp_path / "newer", release=2)
    assert shell("models", "push", str(newer.folder)).code == 0
    older = make_bundle(tmp_path / "older", release=1, seed=4)
    assert "release 3" in shell("models", "push", str(older.folder)).err
    assert [item["release"] for item in shell("models", "list", "--json").json()["models"]] == [2]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("models", "push", ".", "--region", "europe"), 2),
        (("models", "push", ".", "--deploy", "--label", "site"), 2),
        (("models", "deploy", "nothing"), 3),
        (("models", "show", "nothing"), 3),
        (("models", "show", "no/folder"), 3),
        (("models", "pack", "absent.onnx", "--out", "out", "--name", "x"), 3),
    ],
)
def test_what_can_not_be_done_has_a_code_and_a_message(shell: Shell, words: tuple[str, ...], code: int) -> None:
    answer = shell(*words)
    assert answer.code == code
    assert answer.err.startswith("error:")


def test_no_hub_is_one_message_with_what_to_do(shell: Shell) -> None:
    for words in (("devices",), ("events", "query", "SELECT 1"), ("models", "list")):
        answer = shell(*words, api="http://127.0.0.1:1")
        assert answer.code == 5
        assert "no hub answers at http://127.0.0.1:1" in answer.err
        assert "nervure hub up" in answer.err
    assert shell("devices", api="localhost:7444").code == 2


@pytest.mark.parametrize("body", [b"<html>hello</html>", b'{"detail": "nope"}', b"[]"])
def test_another_server_on_the_port_is_said(shell: Shell, body: bytes) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            answer = shell("devices", api=f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()
            thread.join()
    assert answer.code == 4
    assert "no Nervure hub" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("devices",), ("devices", "list"), ("devices", "show"), ("events",), ("events", "query"), ("events", "tail"),
        ("models",), ("models", "push"), ("models", "deploy"), ("models", "list"), ("models", "show"), ("models", "pack"),
    ],
)  # fmt: skip
def test_every_help_has_an_example(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    assert left.value.code == 0
    assert f"nervure {words[0]}" in capsys.readouterr().out.split("Example", 1)[1]
