"""``nervure faults``: tries the promise of delivery by seeded faults, and replays what broke it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from nervure_core.command import emit, json_option

if TYPE_CHECKING:
    from nervure_simulations.faults.world import Outcome

EXIT_VIOLATED = 1
"""A promise was broken; the output names the seed."""


@click.group()
def faults() -> None:
    """Try the path of events against faults, by seed.

    \b
    Examples:
      nervure faults run --seeds 500
      nervure faults run --seed 57
    """


@faults.command()
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many seeds to try.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=click.IntRange(0), help="Replay this one seed and print the last steps of its trace.")
@json_option
def run(*, seeds: int, first: int, seed: int | None, as_json: bool) -> None:
    """Run the real spool, session, gateway, journal and compaction under a virtual clock, with faults.

    A seed decides everything: the fleet, its bounds, every delay, crash, torn write and full disk; the same seed always
    does the same. Exits with 1 when a promise was broken, after printing the seed, what was broken and the last steps.

    \b
    Examples:
      nervure faults run --seeds 500
      nervure faults run --seed 57
      nervure faults run --seeds 10000 --first 500 --json
    """
    from nervure_simulations.faults import run_seed  # brings the hub and its libraries

    outcomes: list[dict[str, Any]] = []
    broken: list[Outcome] = []
    steps = 0
    for number in range(first, first + seeds) if seed is None else (seed,):
        outcome = run_seed(number)
        steps += outcome.steps
        if outcome.violations:
            broken.append(outcome)
        if outcome.violations or seed is not None:
            outcomes.append(asdict(outcome))
        if outcome.violations and not as_json:
            click.echo(_told(outcome))
        elif seed is not None and not as_json:
            click.echo("\n".join(outcome.last_steps))
    tried = 1 if seed is not None else seeds
    report = {"seeds": tried, "steps": steps, "violated": [one.seed for one in broken], "outcomes": outcomes}
    emit(report, as_json=as_json, human=_summary)
    if broken:
        sys.exit(EXIT_VIOLATED)


def _told(outcome: Outcome) -> str:
    return "\n".join(
        (
            f"seed {outcome.seed} broke {len(outcome.violations)} promises:",
            *(f"  {violation}" for violation in outcome.violations),
            "the last steps:",
            *outcome.last_steps,
            f"replay it: nervure faults run --seed {outcome.seed}",
            "",
        )
    )


def _summary(report: dict[str, Any]) -> str:
    violated = report["violated"]
    verdict = f"broken by seeds {', '.join(map(str, violated))}" if violated else "no promise was broken"
    return f"{report['seeds']} seeds, {report['steps']} steps: {verdict}"
