"""The folder of a run: made, or emptied if an earlier run left it, and never anybody else's."""

from __future__ import annotations

import shutil
from pathlib import Path

from nervure_core.errors import ConfigurationError, WorldError

MARK = ".nervure-run"
MARK_TEXT = "Made by nervure simulate; the next run into this folder replaces everything in it.\n"


def prepare_folder(folder: Path) -> None:
    """Make sure that ``folder`` is empty and ours.

    Raises:
        ConfigurationError: It is a file, or holds something that no run made.
        WorldError: It can't be made or emptied.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"--out {folder}: is a file", hint="give a folder")
    try:
        if folder.is_dir() and any(folder.iterdir()):
            if not (folder / MARK).exists():
                raise ConfigurationError(
                    f"--out {folder}: holds files that no run of a simulation made",
                    hint="give an empty folder, or one that an earlier run made",
                )
            for entry in folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text(MARK_TEXT)
    except OSError as error:
        raise WorldError(
            f"--out {folder}: {error.strerror or error}", hint="give a folder that may be written"
        ) from error
