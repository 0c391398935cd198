"""A process that sends a prepared SSE body to everybody who connects, as fast as their socket takes it.

The stream stays open after the last byte, as the real one does; the reader says when it has enough. The surprising
thing: chunks are 16 KiB and cut frames anywhere: so a proxy forwards a stream whose reader is behind.
"""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

from wikiweir.clock import SystemClock

CHUNK_BYTES = 16 * 1024
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunked(body: bytes, chunk_bytes: int = CHUNK_BYTES) -> bytes:
    """HTTP/1.1 chunked encoding of `body`, without the last chunk."""
    parts = []
    for start in range(0, len(body), chunk_bytes):
        piece = body[start : start + chunk_bytes]
        parts.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    return b"".join(parts)


def _answer(connection: socket.socket, encoded: bytes) -> None:
    """Read the request's head, send everything, report when the first byte went, wait until the client leaves."""
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            received = connection.recv(65536)
            if not received:
                return
            head += received
        connection.sendall(HEAD)
        print(json.dumps({"first_byte": SystemClock().monotonic()}), flush=True)
        try:
            connection.sendall(encoded)
            while connection.recv(65536):
                pass
        except OSError:
            return  # the reader had enough


def serve(body_file: Path) -> None:
    """Serve for ever on a free loopback port, which is the first line printed."""
    encoded = chunked(body_file.read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_answer, args=(connection, encoded), daemon=True).start()


class BlobServer:
    """The server as a process of its own. `first_byte()` is on the machine's monotonic clock, as the readers' times."""

    def __init__(self, body_file: Path) -> None:
        command = [sys.executable, "-m", "bench.lib_blob", str(body_file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self._line()["port"])

    @property
    def url(self) -> str:
        """Root of the server."""
        return f"http://127.0.0.1:{self.port}"

    def _line(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the blob server ended with code {self._process.wait()}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def first_byte(self) -> float:
        """When the next connection was answered; waits for it."""
        return self._line()["first_byte"]

    def __enter__(self) -> "BlobServer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
