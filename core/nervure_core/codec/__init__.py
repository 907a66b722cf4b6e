"""The only place where protobuf types and domain types meet.

Rules: encoding can't fail for a value that its dataclass allows; decoding checks everything a peer could get wrong and
raises ``MalformedFrame``; no generated type leaves this package but through the two ends of the call, which pass frames
in and out.

>>> frame = encode_agent(Goodbye("done"))
>>> decode_agent(frame)
Goodbye(reason='done')
"""

from nervure_core.codec.agent_frames import decode_agent, encode_agent
from nervure_core.codec.content import decode_content, encode_content, join_parts, split_content
from nervure_core.codec.hub_frames import decode_hub, encode_hub
from nervure_core.codec.shared import MalformedFrame, decode_batch, encode_batch
from nervure_core.messages import Goodbye

__all__ = [
    "Goodbye",
    "MalformedFrame",
    "decode_agent",
    "decode_batch",
    "decode_content",
    "decode_hub",
    "encode_agent",
    "encode_batch",
    "encode_content",
    "encode_hub",
    "join_parts",
    "split_content",
]
