"""Run a command that must not outlive the process that started it: ``python leash.py PARENT_PID COMMAND ...``.

Linux tells a process when its parent dies (``PR_SET_PDEATHSIG``, prctl(2)), and the wish survives ``exec``. A fleet
that is killed with SIGKILL, or by the kernel for memory, has no chance to clean up; its children then stop by
themselves. Elsewhere the command just runs.

This file is run as a script and imports nothing of Nervure: it costs some ten milliseconds a child.
"""

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for SIGTERM at the parent's death, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before we asked
            raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted: the command is a list made by the supervisor


if __name__ == "__main__":
    main()
