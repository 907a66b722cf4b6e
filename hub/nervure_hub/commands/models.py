"""``nervure models``: pack, push, deploy and look at models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nervure_core.command.output import emit, json_option
from nervure_core.errors import ConfigurationError
from nervure_hub.commands.client import Api, api_option
from nervure_hub.commands.models_view import model_table, releases_of, show_manifest

_KINDS = ("softmax", "sigmoid", "label", "raw")


@click.group()
def models() -> None:
    """Pack, push, deploy and look at models.

    \b
    Examples:
      nervure models pack detector.onnx --out out/detector --name detector --label benign --label attack
      nervure models push out/detector --deploy --region europe
      nervure models list
    """


def _selector_options(function: Any) -> Any:
    label = click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Only agents with this label.")
    region = click.option("--region", "regions", metavar="NAME", multiple=True, help="Only agents of this region.")
    return label(region(function))


@models.command(short_help="Push a bundle as the next release of its name.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--deploy", is_flag=True, help="Want it on agents at once: all, or those that are selected.")
@_selector_options
@api_option
@json_option
def push(
    folder: Path, deploy: bool, labels: tuple[str, ...], regions: tuple[str, ...], api: str, as_json: bool
) -> None:
    """Push the bundle in DIR as the next release of its name.

    The bundle is verified here first, then by the hub, which also loads and tries the model. A bundle that is not right
    leaves nothing behind.

    \b
    Examples:
      nervure models push out/detector
      nervure models push out/detector --deploy --region europe --label site=hall-3
    """
    from nervure_core.bundle import read_bundle
    from nervure_hub.commands.upload import push as upload

    if (labels or regions) and not deploy:
        raise ConfigurationError("--label and --region say where to deploy", hint="add --deploy")
    _selector(labels, regions, ())
    bundle = read_bundle(folder)
    with Api(api) as client:
        query = {"deploy": deploy, "label": list(labels), "region": list(regions)}
        data = upload(client, bundle, query, quiet=as_json)
    emit(data, as_json=as_json, human=_pushed)


@models.command(short_help="Want a release of a model on agents.")
@click.argument("name")
@click.option("--release", type=click.IntRange(1), help="The newest when absent.")
@click.option("--agent", "agents", metavar="ID", multiple=True, help="Only this agent.")
@_selector_options
@api_option
@json_option
def deploy(
    name: str,
    release: int | None,
    agents: tuple[str, ...],
    labels: tuple[str, ...],
    regions: tuple[str, ...],
    api: str,
    as_json: bool,
) -> None:
    """Want a release of a model on agents; without a selection, on those that were selected before (at first: all).

    \b
    Examples:
      nervure models deploy detector
      nervure models deploy detector --release 3 --region europe
    """
    selector = _selector(labels, regions, agents)
    with Api(api) as client:
        data = client.post("/v1/deployments", {"name": name, "release": release, "selector": selector})
    emit(data, as_json=as_json, human=_deployed)


@models.command(name="list")
@api_option
@json_option
def list_(api: str, as_json: bool) -> None:
    """List all releases of all models, and where they are wanted.

    \b
    Example:
      nervure models list --json
    """
    with Api(api) as client:
        data = client.get("/v1/models")
    emit(data, as_json=as_json, human=model_table)


@models.command(short_help="Show the manifest of a release or a bundle.")
@click.argument("model", metavar="NAME|DIR")
@click.option("--release", type=click.IntRange(1), help="The newest when absent.")
@api_option
@json_option
def show(model: str, release: int | None, api: str, as_json: bool) -> None:
    """Show the manifest of a release in the registry, or of a bundle in a folder.

    \b
    Examples:
      nervure models show detector --release 3
      nervure models show out/detector
    """
    folder = Path(model)
    if release is None and folder.is_dir():
        from nervure_core.bundle import read_bundle

        data = read_bundle(folder).manifest.model_dump(mode="json")
    else:
        with Api(api) as client:
            number = release or releases_of(client, model)[-1]["release"]
            data = client.get(f"/v1/models/{model}/{number}")
    emit(data, as_json=as_json, human=show_manifest)


@models.command(short_help="Make a bundle from any ONNX model.")
@click.argument("model", metavar="MODEL.onnx", type=click.Path(path_type=Path))
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="New folder for the bundle.")
@click.option("--name", required=True, help="Name of the model family.")
@click.option("--release", type=click.IntRange(1), default=1, show_default=True)
@click.option("--workload", default="table", show_default=True, help="Workload of the agents it is for.")
@click.option("--column", "columns", metavar="NAME", multiple=True, help="A column of a vector input, in order.")
@click.option("--label", "labels", metavar="NAME", multiple=True, help="A class, in the order of the output.")
@click.option("--benign", "benign_label", metavar="NAME", help="The label that is no finding.")
@click.option("--output", metavar="NAME", help="The output that decides; guessed when absent.")
@click.option("--decision", type=click.Choice(_KINDS), help="How it decides; guessed when absent.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True)
@json_option
def pack(model: Path, out: Path, as_json: bool, decision: str | None, **settings: Any) -> None:
    """Make a bundle from a model that nobody here made: its inputs and outputs are read off the ONNX file.

    \b
    Examples:
      nervure models pack churn.onnx --out out/churn --name churn
      nervure models pack detector.onnx --out out/detector --name detector --workload network
          --label benign --label attack --benign benign --threshold 0.8
    """
    from nervure_core.bundle import DecisionKind, pack_onnx

    kind = DecisionKind(decision) if decision else None
    bundle = pack_onnx(model, out, kind=kind, **settings)
    data = {"folder": str(out), "bundle_id": bundle.bundle_id, "manifest": bundle.manifest.model_dump(mode="json")}
    emit(data, as_json=as_json, human=lambda data: f"{show_manifest(data['manifest'])}\n\nwritten to {data['folder']}")


def _selector(labels: tuple[str, ...], regions: tuple[str, ...], agents: tuple[str, ...]) -> dict[str, Any] | None:
    for label in labels:
        if not label.partition("=")[0] or "=" not in label:
            raise ConfigurationError(f"--label {label!r} is not KEY=VALUE", hint="for example --label site=hall-3")
    if not (labels or regions or agents):
        return None
    pairs = dict(label.split("=", 1) for label in labels)
    return {"labels": pairs, "regions": list(regions), "agents": list(agents)}


def _pushed(data: dict[str, Any]) -> str:
    model = data["model"]
    line = f"pushed {model['name']}/{model['release']} ({model['bundle_id'][:12]})"
    return f"{line}\n{_deployed(data)}" if data["deployment"] else line


def _deployed(data: dict[str, Any]) -> str:
    deployment = data["deployment"]
    number = data["agents_selected"]
    return (
        f"{deployment['name']}/{deployment['release']} is wanted; {number} live agent{'' if number == 1 else 's'} of this "
        "hub selected: `nervure devices` shows when they run it"
    )
