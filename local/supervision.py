"""supervisord keeps the programs running: its configuration, rendered, and a client for it.

It listens on a Unix socket in the state folder, mode 0700. Programs are started one by one, in order, so none starts
by itself. The surprising thing: a supervisord that runs is told of a changed configuration, and stops what has changed.
"""

import hashlib
import os
import shlex
import subprocess
import tempfile
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from supervisor import xmlrpc as supervisor_xmlrpc

from local import orphans, toolchain
from local.instance import Instance
from local.processes import NotReadyError, tail, wait_until
from local.programs import ProgramSpec
from wikiweir.clock import Clock, SystemClock
from wikiweir.settings import PROJECT

SOCKET_PATH_BYTES = 100
"""Linux allows 107 and macOS 103, and supervisord makes the socket under a longer name first."""

STOP_SECONDS = 60.0
"""supervisord kills every program before that."""

_UP = frozenset({"RUNNING", "STARTING", "BACKOFF"})


def socket_path(instance: Instance) -> Path:
    """supervisord's socket: in the state folder, or in a private folder beside it where that path is too long."""
    path = instance.run / "supervisor.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(instance.home)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"wikiweir-{os.geteuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise NotReadyError(f"{folder} belongs to somebody else; set WIKIWEIR_HOME to a shorter path")
    return folder / "supervisor.sock"


def render(instance: Instance, specs: Sequence[ProgramSpec]) -> str:
    """`supervisord.conf`."""
    common = {"WIKIWEIR_HOME": instance.home, "WIKIWEIR_TOOLCHAIN": toolchain.root(), "PYTHONPATH": PROJECT}
    lines = [
        "; Rendered by local.supervision at every start.",
        "[unix_http_server]",
        f"file={_escape(socket_path(instance))}",
        "chmod=0700",
        "",
        "[supervisord]",
        f"logfile={_escape(instance.logs / 'supervisord.log')}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        f"pidfile={_escape(instance.run / 'supervisord.pid')}",
        f"childlogdir={_escape(instance.logs)}",
        "umask=022",
        *(["user=root"] if os.geteuid() == 0 else []),
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for spec in specs:
        environment = {**common, "PYTHONUNBUFFERED": "1", **spec.environment}
        lines += [
            "",
            f"[program:{spec.name}]",
            f"command={_escape(shlex.join(spec.command))}",
            f"directory={'/' if spec.user else _escape(PROJECT)}",
            "environment=" + ",".join(f'{key}="{_escape(value)}"' for key, value in environment.items()),
            *([f"user={spec.user}"] if spec.user else []),
            "autostart=false",
            # after a crash at once; where it cannot even start, again and again, a second longer each time
            f"autorestart={'unexpected' if spec.final_exit_codes else 'true'}",
            *([f"exitcodes={','.join(map(str, spec.final_exit_codes))}"] if spec.final_exit_codes else []),
            "startsecs=1",
            "startretries=1000",
            f"stopsignal={spec.stop_signal}",
            f"stopwaitsecs={spec.stop_seconds}",
            f"stopasgroup={str(spec.stops_group).lower()}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_escape(instance.logs / (spec.name + '.log'))}",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=3",
        ]
    return "\n".join(lines) + "\n"


def _escape(value: object) -> str:
    """supervisord expands `%(…)s`."""
    return str(value).replace("%", "%%")


class _Server(xmlrpc.client.ServerProxy):
    """An XML-RPC proxy over supervisord's socket."""


class Supervisor:
    """The supervisord of one instance."""

    def __init__(self, instance: Instance, clock: Clock | None = None) -> None:
        self.instance = instance
        self.clock = clock or SystemClock()
        self._socket = socket_path(instance)

    def _call(self, method: str, *arguments: object) -> Any:
        transport = supervisor_xmlrpc.SupervisorTransport(None, None, f"unix://{self._socket}")
        with _Server("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        try:
            self._call("getState")
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def start(self, specs: Sequence[ProgramSpec]) -> None:
        """Start supervisord, or let the running one read its configuration anew. No program is started by it."""
        conf = self.instance.run / "supervisord.conf"
        rendered = render(self.instance, specs)
        if self.is_running:
            if conf.read_text(encoding="utf-8") != rendered:
                conf.write_text(rendered, encoding="utf-8")
                self._reread()
            return
        conf.write_text(rendered, encoding="utf-8")
        command = [str(toolchain.program("supervisord")), "-c", str(conf)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", stdin=subprocess.DEVNULL)
        if done.returncode != 0 or not wait_until(lambda: self.is_running, 10, clock=self.clock):
            log = tail(self.instance.logs / "supervisord.log")
            raise NotReadyError(f"supervisord did not start:\n{done.stdout}{done.stderr}{log}")

    def _reread(self) -> None:
        added, changed, removed = self._call("reloadConfig")[0]
        for name in [*changed, *removed]:
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in [*added, *changed]:
            self._call("addProcessGroup", name)

    def states(self) -> dict[str, dict[str, Any]]:
        """Name -> supervisord's own description of each program."""
        return {info["name"]: info for info in self._call("getAllProcessInfo")}

    def start_program(self, name: str) -> None:
        """Start one program if it is not running; returns at once."""
        if self.states()[name]["statename"] not in {"RUNNING", "STARTING"}:
            self._call("startProcess", name, False)

    def running(self, names: Sequence[str]) -> list[str]:
        """Those of the programs that run, or would be started again."""
        states = self.states()
        return [name for name in names if name in states and states[name]["statename"] in _UP]

    def stop_programs(self, *names: str) -> None:
        """Stop programs side by side and wait until all have ended."""
        for name in self.running(names):
            self._call("stopProcess", name, False)

        def have_ended() -> bool:
            states = self.states()
            return not any(states[name]["statename"] in {*_UP, "STOPPING"} for name in names)

        if not wait_until(have_ended, STOP_SECONDS, clock=self.clock):
            raise NotReadyError(f"{', '.join(names)} did not end within {STOP_SECONDS:.0f} s")

    def look(self, name: str, final_exit_codes: tuple[int, ...]) -> tuple[bool, int]:
        """Whether the program has ended for good, and its pid (0 while there is none)."""
        info = self.states()[name]
        exited = info["statename"] == "EXITED" and info["exitstatus"] in final_exit_codes
        return exited or info["statename"] in {"FATAL", "STOPPED"}, int(info["pid"])

    def shutdown(self) -> None:
        """End supervisord itself, wait until it is gone, and leave nothing of its session behind."""
        leader = psutil.Process(int(self._call("getPID")))
        self._call("shutdown")
        # a program that is asked right after its fork takes the signal for its supervisord's, and is killed later
        if not wait_until(lambda: not orphans.is_alive(leader), STOP_SECONDS, clock=self.clock):
            raise NotReadyError(f"supervisord (pid {leader.pid}) did not end within {STOP_SECONDS:.0f} s")
        orphans.end(orphans.of_session(leader.pid), self.clock)
