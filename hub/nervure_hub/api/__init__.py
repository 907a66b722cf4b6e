"""The HTTP API that the commands and the console use, and nothing else.

Rules
    1. Routes are thin: they turn JSON into calls on the hub's context and answers into schemas.
    2. Errors have one form and one table (``errors``); bodies are bounded while they arrive (``limits``).
    3. Other parts bring routers by entry points ``nervure.api``: a factory from ``HubContext`` to ``APIRouter``.

>>> app = create_app(context, lake_query=lake.query)
>>> uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=7444))
"""

from nervure_hub.api.app import create_app
from nervure_hub.context import LakeQuery, QueryResult

__all__ = ["LakeQuery", "QueryResult", "create_app"]
