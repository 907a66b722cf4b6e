"""Models and manifests as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from nervure_core.errors import InputError
from nervure_hub.commands.client import Api


def releases_of(api: Api, name: str) -> Sequence[dict[str, Any]]:
    """Return the releases of one model, oldest first.

    Raises:
        NervureError: There is no such model, or the hub is away.
    """
    if "/" in name:
        raise InputError(f"{name}: no such folder", hint="give a bundle's folder or a model's name")
    found: Sequence[dict[str, Any]] = api.get(f"/v1/models/{quote(name, safe='')}")["models"]
    return found


def model_table(data: dict[str, Any]) -> str:
    """Return all releases, and where the wanted one is wanted."""
    from nervure_hub.commands.tables import moment, size, table

    if not data["models"]:
        return "no models yet: push one with `nervure models push DIR`"
    wanted = {(item["name"], item["release"]): item for item in data["deployments"] if not item["withdrawn"]}
    rows = [
        (
            model["name"],
            model["release"],
            model["bundle_id"][:12],
            model["workload"] or "any",
            size(model["size_bytes"]),
            moment(model["pushed_at_s"]),
            f"{model['run_id']} round {model['round']}" if model["run_id"] else model["note"],
            _where(wanted.get((model["name"], model["release"]))),
        )
        for model in data["models"]
    ]
    return table(
        ("MODEL", "RELEASE", "BUNDLE", "WORKLOAD", "SIZE", "PUSHED (UTC)", "FROM", "WANTED ON"),
        rows,
        numbers=("RELEASE", "SIZE"),
    )


def _where(deployment: dict[str, Any] | None) -> str:
    if deployment is None:
        return ""
    selector = deployment["selector"]
    parts = [
        *(f"region {region}" for region in selector["regions"]),
        *(f"{label}={value}" for label, value in sorted(selector["labels"].items())),
        *(f"agent {agent}" for agent in selector["agents"]),
    ]
    return ", ".join(parts) or "all agents"


def show_manifest(manifest: dict[str, Any]) -> str:
    """Return what a person wants to know of a manifest."""
    from nervure_hub.commands.tables import pairs, size

    decision, lineage, training = manifest["decision"], manifest["lineage"], manifest["training"]
    rows: list[tuple[str, Any]] = [
        ("model", f"{manifest['name']}/{manifest['release']}"),
        ("workload", manifest["workload"] or "any"),
        ("features", manifest["features"] or "columns by name"),
        *(("input", _tensor(item)) for item in manifest["inputs"]),
        *(("output", _tensor(item)) for item in manifest["outputs"]),
        ("labels", ", ".join(manifest["labels"]) or "-"),
        ("decision", f"{decision['kind']} of {decision['output']}, positive from {decision['threshold']:g}"),
        ("training", f"{training['optimizer']}, {len(manifest['trainable'])} tensors" if training else "no"),
        *(
            ("file", f"{name}  {size(entry['size'])}  {entry['sha256'][:12]}")
            for name, entry in manifest["files"].items()
        ),
    ]
    if lineage["run_id"] or lineage["parent"] or lineage["note"]:
        origin = f"{lineage['run_id']} round {lineage['round']}" if lineage["run_id"] else ""
        rows.append(("from", " ".join(part for part in (origin, lineage["parent"][:12], lineage["note"]) if part)))
    return pairs(rows)


def _tensor(spec: dict[str, Any]) -> str:
    extents = ", ".join("any" if extent == -1 else str(extent) for extent in spec["shape"])
    return f"{spec['name']}  {spec['dtype']}[{extents}]"
