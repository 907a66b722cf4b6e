"""Run benchmarks: ``python -m benchmarks NAME …``; without a name, list them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from benchmarks.harness import keep, show

NOT_BENCHMARKS = {"__init__", "__main__", "harness"}


def names() -> list[str]:
    """Return the benchmarks of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NOT_BENCHMARKS)


def main() -> int:
    """Run what was asked for; the exit status says whether it ran, not whether the bars were met."""
    wanted = sys.argv[1:]
    unknown = sorted(set(wanted) - set(names()))
    if unknown or not wanted:
        known = ", ".join(names())
        print(f"error: no benchmark {', '.join(unknown)}" if unknown else "usage: make bench NAME=x", file=sys.stderr)
        print(f"hint:  NAME is one of: {known}", file=sys.stderr)
        return 2
    for name in wanted:
        module = importlib.import_module(f"benchmarks.{name}")
        print((module.__doc__ or name).splitlines()[0])
        rows = module.run()
        print(show(rows))
        print(f"written: {keep(name, rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
