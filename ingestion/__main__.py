"""`python -m ingestion`: the producer as a process; SIGTERM stops it cleanly, its supervisor restarts it otherwise.

Exit codes: 0 stopped as told; 1 a fault that a restart can heal; 78 (EX_CONFIG) a setting or request that no restart
heals, so a supervisor should leave it down.
"""

import logging
import os
import signal
import sys
import threading

from ingestion.app import run
from ingestion.relay import DeliveryError
from ingestion.sink import SinkUnavailableError
from ingestion.source import ConfigurationError
from wikiweir.settings import load

log = logging.getLogger("ingestion")


def main() -> int:
    """Run until a signal; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)  # it warns whenever a busy machine is late
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(load(), stop)
    except ConfigurationError as error:
        log.error("%s", error)
        return os.EX_CONFIG
    except (DeliveryError, SinkUnavailableError) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
