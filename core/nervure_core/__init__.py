"""Nervure core: the words both ends share.

Rule: nothing phones home. From 1.31 on onnxruntime reports to its maker unless it is told not to before it is imported;
every part of Nervure imports this package first.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
