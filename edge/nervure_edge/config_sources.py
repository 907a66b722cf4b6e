"""Where the agent's configuration comes from: a TOML file, then the environment, then flags; the later one wins.

Rules: ``NERVURE_AGENT__SPOOL__QUOTA_MIB=8`` sets ``spool.quota_mib``; only the entry point calls this, and it hands the
environment over; all faults are reported at once, each as ``source: field: found X, why``.

>>> load_config(None, {"NERVURE_AGENT__REGION": "asia"}, {"agent_id": "a", "data": "d"}).region
'asia'
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nervure_core.settings import load_settings
from nervure_core.validation import problems
from nervure_edge.config import AgentConfig

PREFIX = "NERVURE_AGENT__"
HINT = "see `nervure agent config --show` for every key and its value"


def load_config(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> AgentConfig:
    """Merge the three sources and validate the whole.

    Args:
        file: TOML file, or None.
        environment: Only names that start with ``NERVURE_AGENT__`` are looked at.
        flags: Nested like the configuration; values of None count as not given.

    Raises:
        ConfigurationError: The file cannot be read or a value is wrong; every fault is named.
    """
    return load_settings(AgentConfig, prefix=PREFIX, file=file, environment=environment, flags=flags, hint=HINT)


def explain_validation(error: ValidationError, where: str) -> str:
    """Return all faults of a workload's options in one line: where, which option, what was found, why it won't do."""
    return "; ".join(f"{where}: {line}" for line in problems(error))
