from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hub.api.conftest import Served
from tests.support.bundles import make_bundle

from nervure_core.bundle import INFER, Bundle
from nervure_core.errors import ConfigurationError, InputError, InternalError, NervureError, PeerError, WorldError
from nervure_hub.api.errors import LEAVES, http_status
from nervure_hub.api.events import plain


def error_of(answer: httpx.Response) -> dict[str, str]:
    body: dict[str, dict[str, str]] = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint"}
    return body["error"]


def files_of(bundle: Bundle) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (path.name, path.read_bytes())) for path in sorted(bundle.folder.iterdir())]


async def test_the_hub_says_who_it_is_and_who_else_is_there(served: Served) -> None:
    await served.context.coordination.put("/nervure/hubs/asia/hub-9", json.dumps({"grpc": "10.0.0.9:7443"}).encode())
    await served.context.coordination.put("/nervure/hubs/mars/hub-x", b"\xff not JSON")
    answer = (await served.client.get("/v1/hub")).json()
    assert (answer["hub_id"], answer["region"], answer["protocol"]) == ("hub-1", "europe", 1)
    assert answer["hubs"] == [
        {"grpc": "10.0.0.9:7443", "region": "asia", "hub_id": "hub-9"},
        {"region": "mars", "hub_id": "hub-x"},
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["camera-1", "camera-2", "meter-1"]),
        ("state=live", ["camera-1", "meter-1"]),
        ("workload=table", ["meter-1"]),
        ("label=site=hall&label=floor=2", ["camera-1"]),
        ("label=site=hall&label=floor=3", []),
    ],
)
async def test_devices_are_listed_and_filtered(served: Served, query: str, found: list[str]) -> None:
    answer = await served.client.get(f"/v1/devices?{query}")
    assert [device["agent_id"] for device in answer.json()["devices"]] == found


async def test_one_device_is_shown_with_its_report(served: Served) -> None:
    device = (await served.client.get("/v1/devices/camera-1?detail=full")).json()
    assert device["status"]["decisions"] == 4
    assert device["status"]["rss_mib"] == 80.0
    assert device["status"]["latency"]["count"] == 4
    assert sum(device["status"]["latency"]["counts"]) == 4
    assert 40 <= device["status"]["latency"]["p50_us"] <= 70
    silent = (await served.client.get("/v1/devices/meter-1")).json()
    assert silent["status"] is None
    assert silent["home_region"] == "europe"
    missing = await served.client.get("/v1/devices/nobody")
    assert missing.status_code == 404
    assert "nobody" in error_of(missing)["message"]


async def test_a_question_is_answered_with_plain_values(served: Served) -> None:
    answer = await served.client.post("/v1/events/query", json={"sql": "SELECT 1"})
    body = answer.json()
    assert body["columns"] == ["label", "n"]
    assert body["rows"] == [["dos", 41], ["scan", None], ["01", "2026-01-02T00:00:00+00:00"]]
    assert body["truncated"] is False
    assert served.lake.asked == ["SELECT 1"]


@pytest.mark.parametrize(
    ("sql", "status", "code", "shown"),
    [
        ("SELEKT 1", 400, "input", True),
        ("away", 503, "world", True),
        ("bug", 500, "internal", False),
        ("crash", 500, "internal", False),
    ],
)
async def test_errors_have_one_form_and_bugs_stay_inside(
    served: Served, sql: str, status: int, code: str, shown: bool, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await served.client.post("/v1/events/query", json={"sql": sql})
    assert answer.status_code == status
    error = error_of(answer)
    assert error["code"] == code
    assert "secret" not in error["message"]
    assert error["hint"]
    assert shown or "secret" in caplog.text


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"{", "JSON"), (b"{}", "sql"), (b'{"sql": 7}', "sql"), (b'{"sql": "x", "limit": 1}', "limit"), (b"", "body")],
)
async def test_a_body_that_does_not_fit_names_the_field(served: Served, content: bytes, word: str) -> None:
    answer = await served.client.post("/v1/events/query", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert word in error_of(answer)["message"]


async def test_no_such_route_and_method_have_the_same_form(served: Served) -> None:
    assert error_of(await served.client.get("/v1/nothing"))["code"] == "http-404"
    assert error_of(await served.client.delete("/v1/devices"))["code"] == "http-405"


async def test_a_body_too_large_is_refused_declared_or_not(served: Served) -> None:
    declared = await served.client.post("/v1/events/query", content=b"x" * (2 << 20))
    assert declared.status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65536

    streamed = await served.client.post(
        "/v1/events/query", content=endless(), headers={"content-type": "application/json"}
    )
    assert streamed.status_code == 413
    assert error_of(streamed)["code"] == "too-large"
    assert (await served.client.get("/healthz")).status_code == 200


async def test_a_model_is_pushed_deployed_listed_and_shown(served: Served, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    answer = await served.client.post("/v1/models?deploy=true&region=europe&label=site%3Dhall", files=files_of(bundle))
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["model"]["bundle_id"] == bundle.bundle_id
    assert body["deployment"]["selector"] == {"labels": {"site": "hall"}, "regions": ["europe"], "agents": []}
    assert body["agents_selected"] == 1
    listed = (await served.client.get("/v1/models")).json()
    assert [model["release"] for model in listed["models"]] == [1]
    assert [item["name"] for item in listed["deployments"]] == ["flows"]
    assert (await served.client.get("/v1/models/flows")).json() == listed
    shown = (await served.client.get("/v1/models/flows/1")).json()
    assert shown["files"][INFER]["sha256"] == bundle.manifest.files[INFER].sha256
    again = await served.client.post("/v1/models", files=files_of(bundle))
    assert again.status_code == 201
    assert again.json()["deployment"] is None


async def test_a_deployment_can_be_changed_alone(served: Served, tmp_path: Path) -> None:
    for release in (1, 2):
        bundle = make_bundle(tmp_path / str(release), release=release, seed=release)
        await served.client.post("/v1/models", files=files_of(bundle))
    newest = await served.client.post("/v1/deployments", json={"name": "flows"})
    assert newest.json()["deployment"]["release"] == 2
    assert newest.json()["agents_selected"] == 1
    back = await served.client.post(
        "/v1/deployments", json={"name": "flows", "release": 1, "selector": {"agents": ["camera-2"]}}
    )
    assert (back.json()["deployment"]["release"], back.json()["deployment"]["generation"]) == (1, 2)
    assert back.json()["agents_selected"] == 0
    assert [item["release"] for item in (await served.client.get("/v1/deployments")).json()] == [1]
    for body in ({"name": "nothing"}, {"name": "flows", "release": 9}):
        answer = await served.client.post("/v1/deployments", json=body)
        assert answer.status_code == 404
        assert "nervure models list" in error_of(answer)["hint"]


async def test_a_bundle_that_is_not_right_is_refused_and_leaves_nothing(served: Served, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    whole = dict(part for _, part in files_of(bundle))

    async def refused(parts: dict[str, bytes], status: int, *words: str) -> None:
        files = [("files", (name, content)) for name, content in parts.items()]
        answer = await served.client.post("/v1/models?deploy=1", files=files)
        assert answer.status_code == status
        for word in words:
            assert word in error_of(answer)["message"]

    await refused({**whole, INFER: whole[INFER][:-9] + b"damaged!!"}, 400, "infer.onnx", "SHA-256")
    await refused({INFER: whole[INFER]}, 400, "manifest.json")
    await refused({"../evil": b"x", **whole}, 400, "evil")
    broken = make_bundle(tmp_path / "broken", files={INFER: b"\x08\x09nonsense"})
    await refused(dict(part for _, part in files_of(broken)), 400, "infer.onnx", "onnxruntime")
    newer = make_bundle(tmp_path / "newer", release=3)
    assert (await served.client.post("/v1/models", files=files_of(newer))).status_code == 201
    await refused(whole, 409, "release 1")
    assert [model["release"] for model in (await served.client.get("/v1/models")).json()["models"]] == [3]
    assert (await served.client.get("/v1/deployments")).json() == []


async def test_messages_do_not_show_where_the_hub_keeps_uploads(served: Served, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    parts = [
        ("files", (name, content[:-1] + b"!")) for _, (name, content) in files_of(bundle) if name != "manifest.json"
    ]
    parts.append(("files", ("manifest.json", bundle.manifest_bytes)))
    message = error_of(await served.client.post("/v1/models", files=parts))["message"]
    assert "nervure-push" not in message


async def test_counters_are_given_as_json_and_to_prometheus(served: Served) -> None:
    stats = (await served.client.get("/v1/stats")).json()
    assert stats["events"] == {"received": 12, "stored": 10, "duplicates_dropped": 2, "lost_reported": 1}
    assert stats["gateways"][0]["journal_bytes"] == 512
    assert stats["pids"] == [4241, 4242]
    metrics = (await served.client.get("/metrics")).text
    for line in (
        'nervure_hub_events_received_total{gateway="gateway-0",region="europe"} 12.0',
        'nervure_hub_sessions{gateway="gateway-0",region="europe"} 3.0',
        'nervure_agents{region="europe",state="gone"} 1.0',
        'nervure_hub_lake_compactions{region="europe"} 3.0',
    ):
        assert line in metrics


async def test_the_schema_describes_every_route_with_an_example(served: Served) -> None:
    schema: dict[str, Any] = (await served.client.get("/openapi.json")).json()
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert operation.get("description") or path == "/v1/extra", path
            assert "4XX" in operation["responses"]
    assert schema["components"]["schemas"]["Question"]["properties"]["sql"]["examples"]
    assert (await served.client.get("/v1/extra")).json() == {"from": "a plug-in"}


async def test_health_is_degraded_not_dead_without_coordination(served: Served) -> None:
    assert (await served.client.get("/healthz")).json() == {"status": "ok", "coordination": "ok"}


@pytest.mark.parametrize("kind", [ConfigurationError, InputError, PeerError, WorldError, InternalError, *LEAVES])
def test_every_family_and_leaf_has_a_status(kind: type[NervureError]) -> None:
    error = kind.__new__(kind)
    assert 400 <= http_status(error) < 600


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.datetimes()
    | st.dates() | st.times() | st.timedeltas() | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(value=VALUES)
def test_every_value_a_database_gives_becomes_strict_json(value: object) -> None:
    json.dumps(plain(value), allow_nan=False)
