"""SIGTERM and SIGINT as a flag, wherever they arrive.

Under spark-submit the process that a supervisor knows is the JVM, and Python its child. The surprising thing: the JVM's
own answer to SIGTERM is to end at once with code 143, so its handler is replaced by one that calls us.
"""

import signal
import threading
from typing import Any

from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import SparkSession


class _Handler:
    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def handle(self, received: Any) -> None:
        self._stop.set()

    class Java:
        implements = ("sun.misc.SignalHandler",)


def stop_on_signals(spark: SparkSession, stop: threading.Event) -> None:
    """Set `stop` when this process or its JVM is asked to end."""
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    gateway: Any = spark.sparkContext._gateway
    ensure_callback_server_started(gateway)  # type: ignore[no-untyped-call]
    jvm: Any = spark._jvm
    handler = _Handler(stop)
    for name in ("TERM", "INT"):
        jvm.sun.misc.Signal.handle(jvm.sun.misc.Signal(name), handler)
