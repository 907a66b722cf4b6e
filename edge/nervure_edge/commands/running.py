"""One agent in a process of its own: logging, signals, and what is printed.

Rules: standard output carries a ready line, the events that were asked for, and a summary; everything else goes to
standard error. The first SIGINT or SIGTERM ends the agent in order, the second one at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

import click

from nervure_core.errors import NervureError
from nervure_core.events import Event
from nervure_edge.agent import Agent
from nervure_edge.config import AgentConfig
from nervure_edge.engine import Progress

_PROGRESS_S = 1.0
_SWITCH_S = 0.0005


@dataclass(frozen=True, slots=True)
class Running:
    """How the command was called."""

    once: bool
    printing: str
    as_json: bool


def run_agent(config: AgentConfig, how: Running) -> None:
    """Run an agent until it ends or a signal ends it.

    Raises:
        NervureError: What ``Agent`` raises: a source, bundle or folder that cannot be used.
    """
    logging.basicConfig(
        level=config.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # gRPC's core writes connection losses to standard error by itself; ours are said once, by us.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # The loop's thread may keep a decision waiting for a whole switch interval; 5 ms of it would be the tail latency.
    sys.setswitchinterval(_SWITCH_S)
    asyncio.run(_run(config, how))


async def _run(config: AgentConfig, how: Running) -> None:
    observer = _printer(how) if how.printing != "none" else None
    async with Agent(config, observer=observer) as agent:
        _on_signals(agent)
        click.echo(_ready(agent, as_json=how.as_json))
        failure: NervureError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                progress = group.create_task(_show_progress(agent)) if _may_show(how) else None
                try:
                    await agent.run(once=how.once)
                except NervureError as error:
                    failure = error  # raised below, so that the user sees it and not a group of one
                finally:
                    if progress is not None:
                        progress.cancel()
        finally:
            click.echo(_summary(agent, as_json=how.as_json))
    if failure is not None:
        raise failure


def _on_signals(agent: Agent) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)  # the second one has its usual effect
        agent.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)


def _ready(agent: Agent, *, as_json: bool) -> str:
    config, running = agent.config, agent.running
    if as_json:
        body = {
            "event": "ready",
            "agent": config.agent_id,
            "pid": os.getpid(),
            "workload": config.workload.name,
            "model": running.name,
            "release": running.release,
            "hubs": list(config.hubs),
            "data": str(config.data),
        }
        return json.dumps(body, ensure_ascii=False)
    model = f"model {running.name} release {running.release}" if running.name else "no model yet"
    where = f"hubs {', '.join(config.hubs)}" if config.hubs else "no hub"
    return f"agent {config.agent_id}: workload {config.workload.name}, {model}, {where}"


def _summary(agent: Agent, *, as_json: bool) -> str:
    found = agent.summary()
    if as_json:
        return json.dumps({"event": "summary", **found}, ensure_ascii=False)
    events, latency = found["events"], found["latency"]
    lines = [f"{found['decisions']} decisions, {found['findings']} findings, {found['errors']} errors"]
    if latency:
        lines[0] += f"; {latency['p50_us']:g} µs median, {latency['p99_us']:g} µs p99"
    source = ", ".join(f"{value} {key}" for key, value in found["source"].items() if key != "state")
    # What stopped a source is the error that follows; once is enough.
    state = "failed" if found["source"]["state"] not in set(Progress) | {"running"} else found["source"]["state"]
    lines.append(f"source {state}" + (f": {source}" if source else ""))
    lines.append(
        f"events: {events['produced']} produced, {events['acknowledged']} acknowledged, {events['pending']} in the spool, "
        f"{events['lost']} lost"
    )
    return "\n".join(lines)


def _printer(how: Running) -> Any:
    """Return an observer that prints events as lines."""

    def show(event: Event) -> None:
        if event.action == "none" and how.printing != "all":
            return
        if how.as_json:
            body = {"event": "finding", **{name: getattr(event, name) for name in Event.__slots__}}
            line = json.dumps(body, ensure_ascii=False)
        else:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(event.time_us / 1e6))
            line = f"{when}  {event.label:<12} {event.score:5.3f}  {event.action:<8} {event.subject}"
        # The reader of a pipe may have gone; the agent's work is not the pipe.
        with contextlib.suppress(BrokenPipeError):
            click.echo(line)

    return show


def _may_show(how: Running) -> bool:
    return not how.as_json and how.printing == "none" and sys.stderr.isatty()


async def _show_progress(agent: Agent) -> None:
    """Keep one line on the terminal up to date."""
    try:
        while True:
            counts = agent.spool.counts()
            line = (
                f"{agent.engine.decisions} decisions, {agent.engine.positives} findings, "
                f"{counts.pending} in the spool, session {agent.session_state.value} {agent.hub}"
            )
            click.echo(f"\r{line:<78.78}", nl=False, err=True)
            await asyncio.sleep(_PROGRESS_S)
    finally:
        click.echo("\r" + " " * 78 + "\r", nl=False, err=True)
