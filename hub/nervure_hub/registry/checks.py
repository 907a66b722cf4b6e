"""Does this model run, and is it what its manifest says? Asked before a bundle is let in.

Rules
    1. The model is really loaded, by the same onnxruntime the agents use, on one thread, for a bounded time.
    2. Inputs and outputs are compared by name, type and shape; -1 in either shape means "any".
    3. It is run once where that can be judged: on the bundle's own probe, else on zeros, if every input is a float tensor
       whose only open dimension is the batch (a text or category input may rightly refuse what we would make up).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from nervure_core.bundle import INFER, PROBE, TRAIN, Bundle, BundleError, TensorSpec
from nervure_core.bundle.pack import describe, open_model
from nervure_core.errors import InputError

CHECK_S = 60.0
_PROBE_ROWS = 2


async def check_model(bundle: Bundle, *, limit_s: float = CHECK_S) -> None:
    """Load the bundle's models and try them.

    Raises:
        BundleError: A model doesn't load, doesn't fit the manifest, doesn't run, or takes too long.
    """
    try:
        async with asyncio.timeout(limit_s):
            # A thread, because onnxruntime lets go of the interpreter; a hopeless model costs one thread, not the hub.
            await asyncio.to_thread(_check, bundle)
    except TimeoutError as error:
        raise BundleError(
            f"{bundle.manifest.name}: the model did not load and run within {limit_s:g} s", path=bundle.path(INFER)
        ) from error


def _check(bundle: Bundle) -> None:
    session = _open(bundle, INFER)
    manifest = bundle.manifest
    _same("input", manifest.inputs, describe(session.get_inputs()), bundle, every=True)
    _same("output", manifest.outputs, describe(session.get_outputs()), bundle, every=False)
    rows = _probe_rows(bundle)
    if rows is not None:
        try:
            (decided,) = session.run([manifest.decision.output], rows)
        except Exception as error:
            # onnxruntime raises pybind types without a common base; each means "the graph can't compute this".
            raise BundleError(
                f"{INFER}: the model fails on its probe: {_first_line(error)}", path=bundle.path(INFER)
            ) from error
        if isinstance(decided, np.ndarray) and decided.dtype.kind == "f" and not np.isfinite(decided).all():
            raise BundleError(f"{INFER}: the model answers its probe with numbers that are not finite")
    if bundle.has(TRAIN):
        _open(bundle, TRAIN)


def _open(bundle: Bundle, name: str) -> Any:
    try:
        return open_model(bundle.path(name))
    except InputError as error:
        reason = error.message.removeprefix(f"{bundle.path(name)}: ")
        raise BundleError(f"{name}: {reason}", path=bundle.path(name), hint=error.hint) from error


def _same(kind: str, said: Sequence[TensorSpec], found: Sequence[TensorSpec], bundle: Bundle, *, every: bool) -> None:
    by_name = {spec.name: spec for spec in found}
    for spec in said:
        real = by_name.pop(spec.name, None)
        if real is None:
            names = ", ".join(item.name for item in found)
            raise _mismatch(f"{kind} {spec.name!r} is not in the model, which has {names}", bundle)
        if real.dtype != spec.dtype:
            raise _mismatch(f"{kind} {spec.name!r} is {spec.dtype} in the manifest, {real.dtype} in the model", bundle)
        if not _fits(spec.shape, real.shape):
            raise _mismatch(
                f"{kind} {spec.name!r} has shape {list(spec.shape)} in the manifest, {list(real.shape)} in the model",
                bundle,
            )
    if every and by_name:
        raise _mismatch(f"the model wants {kind} {', '.join(sorted(by_name))}, which the manifest lacks", bundle)


def _fits(said: tuple[int, ...], real: tuple[int, ...]) -> bool:
    # onnxruntime knows no rank for some outputs (maps, sequences, loops): an empty shape there says nothing.
    return not real or (
        len(said) == len(real)
        and all(-1 in (one, other) or one == other for one, other in zip(said, real, strict=True))
    )


def _mismatch(what: str, bundle: Bundle) -> BundleError:
    return BundleError(
        f"{bundle.manifest.name}: {what}",
        path=bundle.path(INFER),
        hint="correct the manifest, or make it from the model with `nervure models pack`",
    )


def _probe_rows(bundle: Bundle) -> dict[str, Any] | None:
    inputs = bundle.manifest.inputs
    if bundle.has(PROBE):
        try:
            with np.load(bundle.path(PROBE), allow_pickle=False) as archive:
                return {spec.name: archive[spec.name] for spec in inputs}
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise BundleError(f"{PROBE}: no probe for the inputs: {_first_line(error)}") from error
    if all(spec.dtype in ("float32", "float64") and spec.shape and -1 not in spec.shape[1:] for spec in inputs):
        return {
            spec.name: np.zeros(
                (_PROBE_ROWS if spec.shape[0] == -1 else spec.shape[0], *spec.shape[1:]), np.dtype(spec.dtype)
            )
            for spec in inputs
        }
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
