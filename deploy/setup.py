"""Make the virtual environment of the checkout and install everything: ``make setup`` calls this.

    python deploy/setup.py .venv

Rules: safe to call again; versions come from constraints.txt, so two machines get the same; groups of development tools
are read from pyproject.toml.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the command line."""
    if sys.version_info < (3, 11):  # noqa: UP036 - an older interpreter may well be what calls this script
        print(
            f"error: Python {sys.version.split()[0]} is too old\nhint:  use 3.11 or newer: make PYTHON=python3.11",
            file=sys.stderr,
        )
        return 2
    folder = Path(sys.argv[1])
    if not (folder / "bin" / "pip").exists():
        print(f"making {folder}", flush=True)
        try:
            venv.create(folder, with_pip=True, clear=folder.exists())
        except subprocess.CalledProcessError:
            print("error: Python has no ensurepip\nhint:  apt-get install python3-venv", file=sys.stderr)
            return 5
    pip = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--progress-bar=off",
        "-q",
    ]
    print("installing (a few minutes on a new machine)", flush=True)
    # Dependency groups need pip 25.1.
    subprocess.run([*pip, "-c", "constraints.txt", "pip>=25.1"], check=True, cwd=ROOT)
    subprocess.run([*pip, "-c", "constraints.txt", "-e", ".[simulations]", "--group", "dev"], check=True, cwd=ROOT)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failure:
        print(f"error: {' '.join(failure.cmd[:6])} … failed\nhint:  its own message stands above", file=sys.stderr)
        sys.exit(5)
