"""The registry of models: releases of each name, strictly increasing, each one a verified bundle.

Rules
    1. Order of a push: verify every hash, load and try the model, store the files by content, store the manifest, and
       only then write the release's key, with a compare-and-swap. A push that fails anywhere leaves no release; files
       that lie in the store without one are harmless and serve the next try.
    2. Releases of one name only grow. The same bundle pushed again is no error; another one under the same number is.
    3. What a controller publishes carries its leadership: the key is written fenced.

>>> async def example(registry: Registry) -> None:
...     ref = await registry.push(Path("out/model"))
...     manifest = await registry.manifest(ref.bundle_id)
"""

from nervure_hub.registry.records import MODELS_PREFIX, BundleRef, ModelMissing, ReleaseRefused
from nervure_hub.registry.store import Registry

__all__ = ["MODELS_PREFIX", "BundleRef", "ModelMissing", "Registry", "ReleaseRefused"]
