"""The route that asks the event lake."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from datetime import time as day_time
from decimal import Decimal
from typing import Any
from uuid import UUID

from fastapi import APIRouter

from nervure_hub.api.schemas import Answer, Question
from nervure_hub.context import LakeQuery


def create(lake_query: LakeQuery) -> APIRouter:
    """Return the router."""
    router = APIRouter(tags=["events"])

    @router.post("/v1/events/query")
    async def query(question: Question) -> Answer:
        """Answer one SELECT over the table ``events``: what is compacted and what came a moment ago."""
        start_s = time.perf_counter()
        result = await lake_query(question.sql)
        return Answer(
            columns=list(result.columns),
            rows=[[plain(value) for value in row] for row in result.rows],
            truncated=result.truncated,
            elapsed_ms=round((time.perf_counter() - start_s) * 1000, 3),
        )

    return router


def plain(value: Any) -> Any:
    """Return a database's value as JSON has it; what has no number or text of its own becomes text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return float(value) if value.is_finite() else None
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case datetime() | date() | day_time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set():
            return [plain(item) for item in value]
        case UUID():
            return str(value)
        case _:
            # Numbers of numpy and pyarrow know how to become Python's.
            item = getattr(value, "item", None)
            return plain(item()) if callable(item) else str(value)
