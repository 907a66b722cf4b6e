"""The event lake: journals compacted to a Delta table, asked with SQL."""

from nervure_hub.lake.lake import Lake, LakeStats
from nervure_hub.lake.offline import OfflineLake, open_lake
from nervure_hub.lake.query import BadQuery

__all__ = ["BadQuery", "Lake", "LakeStats", "OfflineLake", "open_lake"]
