"""One run from the command line: folder, logging, signals, display, report."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from nervure_simulations.display import open_display, print_summary
from nervure_simulations.fleet.folder import prepare_folder
from nervure_simulations.report import Report, write_report
from nervure_simulations.scenarios import Scenario
from nervure_simulations.sites import Site

CANCELLED = 130  # what a shell expects of a command that Ctrl-C ended


def simulate_scenario(scenario: Scenario, out: Path, sites: list[Site], *, as_json: bool, command: str) -> bool:
    """Run a scenario into a folder and return whether it kept its promises.

    Args:
        scenario: What to run.
        out: The folder; emptied if an earlier run made it.
        sites: Where traffic is from.
        as_json: Print JSON lines instead of a screen.
        command: How it was called.

    Raises:
        NervureError: What the run raises.
        SystemExit: The run was interrupted.
    """
    # Before gRPC is loaded: its C core writes to the terminal when a hub goes away, which is the display's.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from nervure_simulations.fleet.runner import run_fleet

    prepare_folder(out)
    handler = _log_to(out / "logs" / "runner.log")
    display = open_display("json" if as_json else "live", sys.stdout)
    report: Report | None = None
    try:
        finished = report = asyncio.run(
            _interruptible(run_fleet(scenario, out, sites, display=display, command=command))
        )
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(CANCELLED)
    finally:
        display.finish(report)
        logging.getLogger().removeHandler(handler)
        handler.close()
    _, page = write_report(finished, out)
    if not as_json:
        print_summary(finished, page, sys.stdout)
    return all(bar.met is not False for bar in finished.bars)


async def _interruptible(run: Coroutine[Any, Any, Report]) -> Report:
    """Let SIGTERM end the run in order, as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run


def _log_to(file: Path) -> logging.Handler:
    """Send what the hosted agents log to a file: the screen is the display's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each of thousands of questions to hubs
    return handler
