"""Run every static check, two at a time, and show only what failed: ``make check``.

Format and lint (ruff), types (mypy strict, pyright strict), import contracts, the wire contract (buf lint, generated
code up to date), and the wheel: built, installed without extras into a bare environment, every light package imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

CHECKS: dict[str, list[str]] = {
    "types (pyright)": [str(BIN / "pyright"), "--pythonpath", sys.executable, "--warnings"],
    "types (mypy)": [str(BIN / "mypy")],
    "wheel": [sys.executable, __file__, "--wheel"],
    "import contracts": [str(BIN / "lint-imports")],
    "lint": [str(BIN / "ruff"), "check"],
    "format": [str(BIN / "ruff"), "format", "--check"],
    "wire contract": [str(BIN / "buf"), "lint", "protos"],
    "wire format": [str(BIN / "buf"), "format", "protos", "-d", "--exit-code"],
    "container files": [str(BIN / "hadolint"), *map(str, (ROOT / "deploy" / "containers").glob("*.Dockerfile"))],
    "generated code": [sys.executable, "protos/generate.py", "--check"],
}

LIGHT_IMPORT = """
import importlib, pkgutil, sys
import nervure_core, nervure_edge
for package in (nervure_core, nervure_edge):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
from nervure.v1 import artifacts_pb2_grpc, session_pb2_grpc, tasks_pb2
for package in ("nervure_hub", "nervure_federation", "nervure_simulations"):
    assert importlib.util.find_spec(package), package
heavy = {"ray", "flwr", "onnx", "pyarrow", "deltalake", "fastapi", "duckdb"} & set(sys.modules)
assert not heavy, f"the edge imported {heavy}"
"""


def run(name: str, command: list[str]) -> tuple[str, bool, float, str]:
    """Run one check and return its name, success, seconds and output."""
    began = time.monotonic()
    # The folder of the tools goes first, so that a check which calls another tool finds ours.
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", "PYTHONWARNINGS": "default"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return name, done.returncode == 0, time.monotonic() - began, done.stdout + done.stderr


def wheel() -> int:
    """Build the wheel, install it bare, and import what an edge imports."""
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(ROOT)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        built = next(Path(folder).glob("*.whl"))
        bare = Path(folder) / "bare"
        venv.create(bare, with_pip=True)
        install = [str(bare / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", "-c", "constraints.txt"]
        subprocess.run([*install, str(built)], check=True, cwd=ROOT)
        # Not in the checkout, so that the installed files are what is imported.
        subprocess.run(
            [str(bare / "bin" / "python"), "-W", "error::ImportWarning", "-c", LIGHT_IMPORT], check=True, cwd=folder
        )
        subprocess.run(
            [str(bare / "bin" / "nervure"), "agent", "--help"], check=True, cwd=folder, stdout=subprocess.DEVNULL
        )
    return 0


def main() -> int:
    """Run the checks; exit 1 when one failed."""
    if "--wheel" in sys.argv:
        return wheel()
    failed = 0
    with ThreadPoolExecutor(max_workers=2) as pool:
        for name, good, seconds, output in pool.map(lambda item: run(*item), CHECKS.items()):
            print(f"{'ok  ' if good else 'FAIL'} {name} ({seconds:.1f} s)", flush=True)
            if not good:
                failed += 1
                print(output.rstrip(), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
