"""`nervure range build` from end to end: plan, run, convert, publish."""

import asyncio
import contextlib
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nervure_core.errors import InputError, WorldError
from nervure_simulations.ranges.plan import plan_range
from nervure_simulations.ranges.tools import require_range_host

LICENCE = "CC0-1.0"


def describe_plan(*, seed: int, sites: int, seconds: float) -> list[dict[str, Any]]:
    """Return what a range would hold, without running it; `flows` counts what is asked for, not what will be seen."""
    return [
        {
            "site": plan.site,
            "region": plan.region,
            "profile": plan.profile,
            "devices": [device.kind for device in plan.devices],
            "attacks": list(plan.attacks),
            "flows": len(plan.events) + sum(episode.flows for episode in plan.episodes),
            "episodes": [{"kind": e.kind, "at_s": e.at_s, "from": e.home} for e in plan.episodes],
        }
        for plan in plan_range(seed=seed, sites=sites, seconds=seconds)
    ]


def build_range(
    out: Path,
    *,
    seed: int,
    sites: int,
    seconds: float,
    at_once: int,
    keep_captures: bool,
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Run a range and write its tables and index; returns the index rows.

    Tables appear in `out` only when every site has succeeded.

    Raises:
        ConfigurationError: A number is out of bounds, or this machine cannot run a range.
        WorldError: The folder cannot be written, or a site failed.
        InputError: A capture turned out to be of no use.
    """
    plans = plan_range(seed=seed, sites=sites, seconds=seconds)
    require_range_host()
    from nervure_simulations.ranges.capture import capture_range

    out = out.absolute()  # tcpdump and the servers work in folders of their own
    _make_folder(out)
    with tempfile.TemporaryDirectory(prefix="nervure-captures-", dir=out) as folder:
        captures = Path(folder)
        asyncio.run(_until_signalled(lambda: capture_range(plans, captures, at_once=at_once, tell=tell)))
        # Minutes of work: captures that cannot be converted are kept, so that `range convert` can try again.
        try:
            rows = convert_captures(captures, out)
        except BaseException:
            keep_captures = True
            raise
        finally:
            if keep_captures:
                shutil.copytree(captures, out / "captures", dirs_exist_ok=True)
    return rows


def convert_captures(captures: Path, out: Path, *, references: Path | None = None) -> list[dict[str, Any]]:
    """Turn a folder of captures and truths into tables and an index; returns the index rows.

    Args:
        captures: Holds `<site>.pcap` and `<site>.truth.json`.
        out: Made where it is not there.
        references: Folder of captures from elsewhere, added as reference sites (see `reference`).

    Raises:
        InputError: There are no captures, or one is of no use.
        WorldError: The folder cannot be written.
    """
    from nervure_simulations.ranges.convert import convert_site
    from nervure_simulations.ranges.publish import publish_sites, write_index
    from nervure_simulations.ranges.reference import publish_references

    converted = [convert_site(path) for path in sorted(captures.glob("*.pcap"))]
    if not converted:
        raise InputError(f"{captures}: no captures", hint="give the folder that --keep-captures left behind")
    _make_folder(out)
    rows = publish_sites(converted, out, role="range", licence=LICENCE)
    if references is not None:
        rows += publish_references(references, out)
    write_index(out, rows, converted[0].tools)
    return rows


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorldError(f"{out}: {error.strerror}", hint="give another --out") from error


async def _until_signalled(work: Callable[[], Any]) -> None:
    """Run the work; SIGTERM cancels it as Ctrl-C does, so that namespaces are removed either way."""
    task = asyncio.ensure_future(work())
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        raise WorldError("the range was stopped; its namespaces are removed and nothing was written") from None
