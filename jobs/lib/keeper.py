"""Keeps one query running: after each end a new life, with a pause that grows, until told to stop.

The surprising thing: some ends are final for the whole process, not for the query: another driver has taken over, a
refusal, which no restart heals, and failing again and again while PostgreSQL and Kafka are there: perhaps a new process
helps.
"""

import logging
import threading
from collections.abc import Callable

import psycopg2
from kafka.errors import KafkaError

from jobs.lib.owner import FencedError, RefusedError, RetiredError
from jobs.lib.speed_sink import StoppedError
from wikiweir.clock import Clock
from wikiweir.redaction import redact

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
HEALTHY_LIFE_SECONDS = 60.0
GIVE_UP_AFTER = 8
"""Short lives in a row, those not counted that ended because something else is away."""


class BusyError(RuntimeError):
    """Another process holds what this query needs; it is waited for."""


class GaveUpError(RuntimeError):
    """The query failed again and again, and not because something else was away."""


AWAY = (psycopg2.Error, KafkaError, BusyError, ConnectionError)
"""Waited for as long as it takes."""


class Keeper:
    """A thread that runs `live_once` again and again."""

    def __init__(
        self,
        name: str,
        live_once: Callable[[], None],
        *,
        stop: threading.Event,
        clock: Clock,
        on_state: Callable[[str, str], None],
        on_final: Callable[[Exception], None],
        on_retired: Callable[[], None] = lambda: None,
        first_pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._live_once = live_once
        self._stop = stop
        self._clock = clock
        self._on_state = on_state
        self._on_final = on_final
        self._on_retired = on_retired
        self._name = name
        self._first_pause = first_pause
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def _run(self) -> None:
        pause = self._first_pause
        short_lives = 0
        while not self._stop.is_set():
            began = self._clock.monotonic()
            try:
                self._live_once()
                reason, short_lives = "it ended by itself", short_lives + 1
            except (FencedError, RefusedError) as final:
                self._on_state("ended", str(final))
                self._on_final(final)
                return
            except RetiredError as retired:
                log.warning("%s: %s", self._name, retired)
                self._on_retired()
                continue
            except StoppedError:
                break
            except Exception as failure:  # whatever Spark, Kafka or PostgreSQL raises: it is told, and tried again
                reason = f"{type(failure).__name__}: {redact(str(failure).strip())[:500]}"
                short_lives += not isinstance(failure, AWAY)
            if self._stop.is_set():
                break
            log.warning("%s is started again in %.1f s: %s", self._name, pause, reason)
            self._on_state("restarting", reason)
            if self._clock.monotonic() - began > HEALTHY_LIFE_SECONDS:
                pause, short_lives = self._first_pause, 0
            if short_lives >= GIVE_UP_AFTER:
                self._on_final(GaveUpError(f"{self._name} failed {short_lives} times in a row, last: {reason}"))
                return
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self._on_state("stopped", "")
