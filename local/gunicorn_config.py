"""How gunicorn serves Superset; gunicorn reads this file, in Superset's environment (docs.gunicorn.org, Settings).

The surprising thing: a thread of gunicorn's takes a new connection at once and waits five seconds for a request on it.
Browsers open connections that they only may need, and forty of those kept everybody waiting for half a minute. So the
kernel keeps a connection until something was said on it.
"""

import socket
from typing import Any

worker_class = "gthread"
workers = 2  # some 250 MiB each: Python of one uses one core, and ten viewers of Pulse ask 21 times a second
threads = 4  # requests at a time in each: PostgreSQL works while a thread waits
keepalive = 75  # a browser's connection outlives the refresh of ten seconds; one that waits takes no thread
timeout = 120
graceful_timeout = 5
limit_request_line = 8190
control_socket_disable = True  # it would be nobody's
# not preload_app: then the master is as big as the processes that serve


def when_ready(server: Any) -> None:
    """What has not spoken after so many seconds, the kernel hands over nevertheless (tcp(7), TCP_DEFER_ACCEPT)."""
    for listener in server.LISTENERS:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, keepalive)
