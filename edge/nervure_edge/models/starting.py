"""Which model an agent starts with, and whether a model is for this agent at all."""

from __future__ import annotations

import logging
from pathlib import Path

from nervure_core.bundle import read_bundle
from nervure_core.errors import InputError
from nervure_edge.config import ModelSettings
from nervure_edge.models.loaded import LoadedModel, ModelMismatchError, load_model
from nervure_edge.models.slots import SlotStore

logger = logging.getLogger(__name__)


def starting_model(store: SlotStore, settings: ModelSettings) -> LoadedModel | None:
    """Return what a slot and the configuration together say to start with; None when that is nothing.

    Raises:
        InputError: The local bundle is broken, or its model fails.
        WorldError: The disk fails.
    """
    model = load_slot(store, settings.slot, probe_rows=settings.probe_rows)
    if settings.bundle is None:
        return model
    return start_with(store, settings.slot, settings.bundle, model, probe_rows=settings.probe_rows)


def load_slot(store: SlotStore, slot: str, *, probe_rows: int) -> LoadedModel | None:
    """Return the model that a slot starts with: current, else previous, else golden; None when none is usable.

    A trial that is still marked did not survive: it is cleared and never started from.

    Raises:
        WorldError: The disk fails.
    """
    found = store.slot(slot)
    if found.trial:
        logger.warning("bundle %s… did not survive its trial, starting without it", found.trial[:12])
        store.reject(slot)
    for bundle_id in dict.fromkeys((found.current, found.previous, found.golden)):
        if not bundle_id:
            continue
        try:
            return load_model(store.bundle(bundle_id), probe_rows=probe_rows)
        except InputError as error:
            logger.warning("bundle %s… cannot be started: %s", bundle_id[:12], error)
    return None


def check_fit(model: LoadedModel, workload: str, features: str) -> None:
    """Refuse a model that was made for something else than this agent senses.

    Args:
        model: The candidate.
        workload: Name of the agent's workload.
        features: Feature schema that the workload makes; empty when it maps columns by name.

    Raises:
        ModelMismatchError: Workload or feature schema differ.
    """
    manifest = model.manifest
    if manifest.workload and manifest.workload != workload:
        raise ModelMismatchError(
            f"model {manifest.name} is for workload {manifest.workload!r}, this agent runs {workload!r}",
            hint="give a model made for it, or another source (see `nervure agent run --help`)",
        )
    if manifest.features and features and manifest.features != features:
        raise ModelMismatchError(
            f"model {manifest.name} wants features {manifest.features!r}, this agent makes {features!r}",
            hint="make the model anew on these features",
        )


def start_with(
    store: SlotStore, slot: str, folder: Path, running: LoadedModel | None, *, probe_rows: int
) -> LoadedModel:
    """Return the model to start with when a local bundle was given.

    What a hub has deployed since wins: the same model in the same or a later release is kept.

    Args:
        store: The models on disk; the bundle is copied in.
        slot: Which slot it is for.
        folder: The local bundle.
        running: What the slot would start with.
        probe_rows: As for ``load_model``.

    Raises:
        InputError: The bundle is broken, or its model fails.
        WorldError: The disk fails.
    """
    given = read_bundle(folder)
    if running is not None:
        same = running.manifest.name == given.manifest.name
        if running.bundle.bundle_id == given.bundle_id or (same and running.manifest.release > given.manifest.release):
            return running
    bundle = store.install(folder)
    store.try_out(slot, bundle.bundle_id)
    try:
        model = load_model(bundle, probe_rows=probe_rows)
    except InputError:
        store.reject(slot)
        raise
    store.commit(slot, bundle.bundle_id)
    return model
