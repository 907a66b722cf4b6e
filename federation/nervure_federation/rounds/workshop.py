"""Where rounds get bundles from, have them judged, and publish them: registry, object store and judge behind one door.

Rules: bundles are fetched once and kept in a temporary folder for as long as the workshop is open; held-out sets are
loaded once; everything that computes or touches the disk runs in a thread. Publishing the same candidate twice finds the
first: a bundle is named by its content, and the content holds no time.

>>> with Workshop(registry, objects) as workshop:
...     base = await workshop.bundle(await workshop.latest("flows"))
...     scores = await workshop.score(base, arrays, "default")
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nervure_core.bundle import TRAIN, Bundle, Lineage, Manifest, with_new_weights
from nervure_core.errors import InputError
from nervure_core.tensors import Arrays
from nervure_federation.heldout import held_sites, load_heldout, require_heldout
from nervure_federation.judge import Counts, Decision, Heldout, Policy, Verdict, accept, judge_weights
from nervure_federation.rounds.records import ModelRef, Scores, SiteCounts
from nervure_federation.rounds.spec import JudgeSpec, RunSpec
from nervure_hub.coordination import Leadership
from nervure_hub.objects import ObjectStore
from nervure_hub.registry import BundleRef, Registry, ReleaseRefused


class NotTrainable(InputError):
    """A model can't take part in rounds."""

    code = "not-trainable"


class Workshop:
    """Bundles and the judge; see the module's rules. A context manager that removes its folder at the end.

    Args:
        registry: Models by name and release.
        objects: Held-out sets, and weights on their way.
    """

    def __init__(self, registry: Registry, objects: ObjectStore) -> None:
        self._registry = registry
        self._objects = objects
        self._folder = tempfile.TemporaryDirectory(prefix="nervure-rounds-", ignore_cleanup_errors=True)
        self._bundles: dict[str, Bundle] = {}
        self._heldout: dict[str, Heldout] = {}
        # Three rounds that want the same bundle fetch it once, not over each other.
        self._fetching = asyncio.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    async def latest(self, name: str) -> ModelRef:
        """Return the newest release of a model.

        Raises:
            ModelMissing: There is none.
        """
        found = await self._registry.release(name)
        return ModelRef(name=found.name, release=found.release, bundle_id=found.bundle_id)

    async def bundle(self, model: ModelRef) -> Bundle:
        """Return a bundle, fetched if it is not here yet.

        Raises:
            ModelMissing: The registry doesn't have it.
            ObjectStoreFailed: The object store is away.
        """
        async with self._fetching:
            found = self._bundles.get(model.bundle_id)
            if found is None:
                found = await self._registry.fetch(model.bundle_id, Path(self._folder.name) / model.bundle_id)
                self._bundles[model.bundle_id] = found
            return found

    async def score(self, base: Bundle, arrays: Mapping[str, NDArray[np.generic]], heldout: str) -> Scores:
        """Judge a bundle as if it held these weights; tensors that aren't named keep theirs.

        Raises:
            NoHeldout: There are no held-out sets of that name.
            InputError: The sets or the weights don't fit the bundle.
        """
        sets = await self.heldout(heldout)
        return scores_of(await asyncio.to_thread(judge_weights, base, arrays, sets))

    def decide(self, candidate: Scores, current: Scores | None, spec: JudgeSpec) -> Decision:
        """Say whether a candidate may replace the current model, and why or why not."""
        policy = Policy(
            min_f1=spec.min_f1,
            max_f1_drop=spec.max_f1_drop,
            max_worst_site_fpr_increase=spec.max_worst_site_fpr_increase,
            tolerated_worst_site_fpr=spec.tolerated_worst_site_fpr,
        )
        return accept(verdict_of(candidate), verdict_of(current) if current else None, policy)

    async def heldout(self, name: str) -> Heldout:
        """Return held-out sets by ``region/site``.

        Raises:
            NoHeldout: There are none of that name.
            HeldoutUnusable: One is no npz with ``x`` and ``y``, or they are too large together.
        """
        # Sets of a name don't change, but a push may have been cut short when they were read, and be completed since.
        if name not in self._heldout or set(self._heldout[name]) != set(await held_sites(self._objects, name)):
            self._heldout[name] = await load_heldout(self._objects, name)
        return self._heldout[name]

    async def publish(
        self, base: Bundle, arrays: Arrays, lineage: Lineage, *, release: int, leadership: Leadership
    ) -> BundleRef:
        """Register the bundle that differs from ``base`` in these weights.

        Args:
            base: The parent.
            arrays: The new weights.
            lineage: Where they come from; must hold no time.
            release: The number it should get. Where others took that meanwhile, it gets the next free one.
            leadership: Fences the registration.

        Raises:
            BundleError: The model doesn't run with these weights.
            FencedOut: Somebody else leads by now.
        """
        while True:
            folder = Path(self._folder.name) / f"{lineage.run_id}-{lineage.round}-{release}"
            bundle = self._bundles.get(str(folder))
            if bundle is None:
                bundle = await asyncio.to_thread(
                    with_new_weights, base, folder, arrays, release=release, lineage=lineage
                )
                self._bundles[str(folder)] = bundle
            try:
                published = await self._registry.push(folder, leadership=leadership)
            except ReleaseRefused:
                newest = await self.latest(base.manifest.name)
                release = max(newest.release, release) + 1
                continue
            self._bundles[published.bundle_id] = bundle
            return published


async def check_trainable(registry: Registry, objects: ObjectStore, spec: RunSpec) -> None:
    """Check that a run can begin, before anybody is asked to do anything.

    Raises:
        ModelMissing: The registry has no model of that name.
        NotTrainable: The model's newest release can't be trained.
        NoHeldout: There is nothing to judge on, and the run wants a judge.
    """
    ref = await registry.release(spec.model)
    manifest = await registry.manifest(ref.bundle_id)
    if TRAIN not in manifest.files or not manifest.trainable:
        raise _not_trainable(manifest)
    if spec.judge is not None:
        await require_heldout(objects, spec.judge.heldout)


def _not_trainable(manifest: Manifest) -> NotTrainable:
    return NotTrainable(
        f"model {manifest.name} release {manifest.release} has no {TRAIN} or no trainable tensors",
        hint="build the bundle with a training graph (nervure_federation.models.build_bundle)",
    )


def trainable_of(bundle: Bundle) -> Arrays:
    """Return the tensors that rounds train, in the order of the manifest.

    Raises:
        NotTrainable: The bundle has no training graph or names no trainable tensors.
    """
    manifest = bundle.manifest
    if not bundle.has(TRAIN) or not manifest.trainable:
        raise _not_trainable(manifest)
    weights = bundle.weights()
    return {name: weights[name] for name in manifest.trainable}


def scores_of(verdict: Verdict) -> Scores:
    """Return what is stored of a verdict."""
    return Scores(
        accuracy=verdict.accuracy,
        f1=verdict.f1,
        fpr=verdict.fpr,
        worst_site=verdict.worst_site,
        worst_site_fpr=verdict.worst_site_fpr,
        sites={
            name: SiteCounts(tp=site.tp, fp=site.fp, tn=site.tn, fn=site.fn, broken=site.broken)
            for name, site in verdict.sites.items()
        },
    )


def verdict_of(scores: Scores) -> Verdict:
    """Return the verdict that scores were stored of."""
    return Verdict.of(
        {name: Counts(site.tp, site.fp, site.tn, site.fn, site.broken) for name, site in scores.sites.items()}
    )
