"""What one sees while a fleet runs: a live screen at a terminal, plain lines elsewhere, JSON lines for programs.

The runner tells a ``Display`` what happens and never asks it anything, so a run is the same whoever watches.

>>> display = open_display("lines", sys.stdout)  # doctest: +SKIP
>>> display.phase(1.2, "etcd 3.5.1 is ready")  # doctest: +SKIP
   1.2 s  etcd 3.5.1 is ready
"""

from nervure_simulations.display.contract import Display, Kind
from nervure_simulations.display.open import open_display
from nervure_simulations.display.summary import print_summary

__all__ = ["Display", "Kind", "open_display", "print_summary"]
