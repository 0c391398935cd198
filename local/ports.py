"""Free loopback ports, and whether somebody listens on one.

The surprising thing: they are taken from below the range the kernel gives to outgoing connections, so that
a port which an instance remembers is not lost to somebody's client while the instance is down.
"""

import secrets
import socket

LOOPBACK = "127.0.0.1"
FIRST, LAST = 20_000, 32_000
"""Linux hands out 32768 and up, macOS 49152 and up."""


def is_free(port: int) -> bool:
    """Whether we could listen on the port right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on right now."""
    found: set[int] = set()
    for _ in range(100 * count):
        if len(found) == count:
            return list(found)
        candidate = FIRST + secrets.randbelow(LAST - FIRST)
        if is_free(candidate):
            found.add(candidate)
    raise OSError(f"expected {count} free ports between {FIRST} and {LAST} on {LOOPBACK}, found {len(found)}")


def free_port() -> int:
    """One free port."""
    return free_ports(1)[0]


def is_open(port: int, host: str = LOOPBACK) -> bool:
    """Whether a connection to the port is accepted."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False
