"""Gateways: where agents arrive and events become durable."""

from nervure_hub.gateway.journal import Journal, JournalRecord, JournalSlice
from nervure_hub.gateway.links import DirectorySink, GatewayLink, GatewayReport, JournalSource
from nervure_hub.gateway.server import GatewayServer, GatewaySettings

__all__ = [
    "DirectorySink",
    "GatewayLink",
    "GatewayReport",
    "GatewayServer",
    "GatewaySettings",
    "Journal",
    "JournalRecord",
    "JournalSlice",
    "JournalSource",
]
