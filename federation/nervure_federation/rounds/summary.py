"""What a round and a run come to, summed up from the contributions; pure.

>>> summed(record, contributions)["region_updates"]
3
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nervure_federation.rounds.joining import absences, order_of
from nervure_federation.rounds.ledger import Run
from nervure_federation.rounds.records import Contribution, LocalOnly, RegionShare, RoundRecord, SiteCounts


def summed(record: RoundRecord, contributions: Sequence[Contribution]) -> dict[str, Any]:
    """Return the fields of a round's record that are counted over its contributions.

    Traffic and refusals count for every hub, weights and examples only for those that brought an aggregate.
    """
    done = order_of(contributions)
    replies = sum(contribution.replies for contribution in contributions)
    bytes_up = sum(contribution.bytes_up for contribution in contributions)
    return {
        "region_updates": len(done),
        "regions": _shares(done),
        "absent": absences(record.participants, contributions),
        "agents": sum(len(contribution.agents) for contribution in done),
        "examples": sum(contribution.examples for contribution in done),
        "refused": tuple(refused for contribution in contributions for refused in contribution.refused),
        "bytes_up": bytes_up,
        "bytes_down": sum(contribution.bytes_down for contribution in contributions),
        "bytes_up_per_agent": bytes_up / replies if replies else 0.0,
    }


def _shares(done: Iterable[Contribution]) -> dict[str, RegionShare]:
    shares: dict[str, RegionShare] = {}
    for contribution in done:
        before = shares.get(contribution.region, RegionShare(agents=0, examples=0, duration_s=0.0))
        shares[contribution.region] = RegionShare(
            agents=before.agents + len(contribution.agents),
            examples=before.examples + contribution.examples,
            duration_s=max(before.duration_s, contribution.duration_s),
            train_loss=contribution.metrics.get("train-loss", before.train_loss),
            refused=before.refused + len(contribution.refused),
        )
    return shares


def local_only(contributions: Iterable[Contribution]) -> LocalOnly | None:
    """Return the mean of what agents reach alone, each agent counting the same; None where nobody was scored."""
    scores = [local.scores for contribution in order_of(contributions) for local in contribution.local]
    if not scores:
        return None
    f1 = [score.f1 for score in scores]
    return LocalOnly(
        agents=len(scores),
        accuracy_mean=sum(score.accuracy for score in scores) / len(scores),
        f1_mean=sum(f1) / len(f1),
        f1_min=min(f1),
        f1_max=max(f1),
        fpr_mean=sum(score.fpr for score in scores) / len(scores),
    )


def round_row(record: RoundRecord) -> dict[str, Any]:
    """Return a round as the API and reports show it: the record, with the scores beside the other fields."""
    row = record.model_dump(mode="json", exclude={"scores"})
    scores = record.scores
    row["accuracy"] = scores.accuracy if scores else None
    row["f1"] = scores.f1 if scores else None
    row["fpr"] = scores.fpr if scores else None
    row["worst_site"] = scores.worst_site if scores else ""
    row["worst_site_fpr"] = scores.worst_site_fpr if scores else None
    row["sites"] = {name: site_row(site) for name, site in scores.sites.items()} if scores else {}
    return row


def site_row(site: SiteCounts) -> dict[str, float]:
    """Return a site's counts and the two rates that are looked at; a rate without cases is None-free and harmless."""
    found, benign = 2 * site.tp + site.fp + site.fn, site.fp + site.tn
    return {
        **site.model_dump(),
        "f1": 2 * site.tp / found if found else 1.0,
        "fpr": site.fp / benign if benign else 0.0,
    }


def run_row(run: Run) -> dict[str, Any]:
    """Return a run as the API lists it."""
    assert run.record is not None
    status = run.status.model_dump(mode="json") if run.status else {"state": "waiting", "run_id": run.run_id}
    spec = run.record.spec
    return {
        **status,
        "run_id": run.run_id,
        "model": spec.model,
        "strategy": spec.strategy,
        "rounds_total": spec.rounds,
        "rounds_accepted": sum(record.accepted for record in run.federated() if record.final),
        "submitted_at_s": run.record.submitted_at_s,
        "submitted_in": run.record.submitted_in,
    }


def run_details(run: Run) -> dict[str, Any]:
    """Return a run with its specification and all its rounds, the local-only baseline apart."""
    assert run.record is not None
    local = run.rounds.get(0)
    return {
        **run_row(run),
        "spec": run.record.spec.model_dump(mode="json"),
        "rounds": [round_row(record) for record in run.federated()],
        "baseline": round_row(local) if local else None,
    }
