"""Kills what a stack started if the test run itself was killed and could not: no process outlives its tests.

    python tests/integration/reaper.py FOLDER < pipe       # the end of the pipe is the end of the run

The surprising thing: it goes by the stack's folder, which only that stack's programs carry in their command line or as
their WIKIWEIR_HOME, because process ids change with every kill and may be somebody else's by the end.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("java", "postgres", "python")


class Reaper:
    """The other end of the pipe."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def close(self) -> None:
        """The end of the run: whatever is still there is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def belongs(process: Path, folder: str) -> bool:
    """Whether a process of /proc is a program of the stack in `folder`."""
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
        environment = (process / "environ").read_bytes().split(b"\0")
    except OSError:  # gone, or somebody else's
        return False
    is_program = Path(command[0].decode(errors="replace")).name.startswith(PROGRAMS)
    is_here = any(f"{folder}/home".encode() in part for part in command)
    return is_program and (is_here or f"WIKIWEIR_HOME={folder}/home".encode() in environment)


def main() -> None:
    sys.stdin.buffer.read()
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid() and belongs(process, sys.argv[1]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)


if __name__ == "__main__":
    main()
