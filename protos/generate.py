"""Write the Python code of the wire contract from its .proto files, or say what is stale.

    python protos/generate.py            write protos/generated
    python protos/generate.py --check    change nothing; exit 1 and name the files that differ

Rules: the path of a .proto below ``protos/`` is the path of its Python module, so nothing is rewritten after
generation; the generator's version is pinned in pyproject.toml because generated code refuses an older runtime.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GENERATED = HERE / "generated"


def generate(target: Path) -> None:
    """Write modules and stubs for every .proto file below ``target``.

    Raises:
        SystemExit: The compiler refused a file; its message is on standard error.
    """
    # A check of the installed wheel has no compiler: import it only here.
    import grpc_tools
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(HERE)) for path in (HERE / "nervure").rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{HERE}", f"-I{well_known}"]
    arguments += [f"--{kind}_out={target}" for kind in ("python", "grpc_python")]
    arguments += [f"--{kind}_out=quiet:{target}" for kind in ("mypy", "mypy_grpc")]
    # The plug-ins lie beside the interpreter, which need not be on the path.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    status = protoc.main([*arguments, *sources])
    if status:
        raise SystemExit(status)
    for folder in {path.parent for path in target.rglob("*_pb2.py")} | {target / "nervure"}:
        (folder / "__init__.py").write_text("")
    (target / "nervure" / "py.typed").write_text("")


def stale(fresh: Path) -> list[str]:
    """Return the names of files that differ between ``fresh`` and the checked-in tree, either way."""
    names = {
        str(path.relative_to(root))
        for root in (fresh, GENERATED)
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    return sorted(
        name
        for name in names
        if not (fresh / name).exists()
        or not (GENERATED / name).exists()
        or not filecmp.cmp(fresh / name, GENERATED / name, shallow=False)
    )


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when something is stale")
    if not parser.parse_args().check:
        generate(GENERATED)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        names = stale(Path(folder))
    for name in names:
        print(f"stale: protos/generated/{name}: run python protos/generate.py", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
