"""Who may write a generation: one driver, one epoch, one PostgreSQL backend; and the connection that it writes by.

A new driver terminates the former one's backend, raises the epoch, and only then reads anything. The surprising thing:
termination is what frees us from a process that was stopped inside COPY, because no time-out of the server's counts
while a COPY waits for its client.
"""

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from jobs.lib.postgres import connect
from wikiweir.clock import Clock

log = logging.getLogger(__name__)

ATTEMPTS = 20


class RefusedError(RuntimeError):
    """This program must not write here; the message says why and what to do."""


class FencedError(RuntimeError):
    """Another driver owns the generation now: this process ends and never takes over again by itself."""


class RetiredError(RuntimeError):
    """The generation is no longer the one it was: readers see another one, whose owner this driver may become."""


def driver_name() -> str:
    """Host and process, for people who look at the owner row."""
    return f"{socket.gethostname()}:{os.getpid()}"


def bind_instance(cursor: Cursor, source_id: str) -> None:
    """Bind an unbound database to the source of the events, and refuse one that is bound to another."""
    try:
        cursor.execute("SELECT ops.bind_instance(%s)", (source_id,))
    except (psycopg2.errors.ObjectNotInPrerequisiteState, psycopg2.errors.InvalidParameterValue) as refusal:
        raise RefusedError(f"{refusal.diag.message_primary}. {refusal.diag.message_hint}") from None


def live_generation(cursor: Cursor) -> int:
    """The generation that readers see."""
    cursor.execute("SELECT generation FROM ops.generations WHERE state = 'live'")
    row = cursor.fetchone()
    if row is None:
        raise RefusedError("expected one live row in ops.generations, found none; run the migrations: ./weir up")
    return int(row[0])


@dataclass(frozen=True, slots=True)
class _Row:
    epoch: int
    backend_pid: int | None
    backend_start: Any
    driver: str | None


class Owner:
    """Ownership of one generation, and the one connection that its batches are written by."""

    def __init__(
        self,
        dsn: str,
        *,
        generation: int,
        source_id: str,
        clock: Clock,
        fence: bool = True,
        prepare: Callable[[Cursor], None] | None = None,
    ) -> None:
        """`prepare` runs on every new connection (temporary tables); `fence=False` is for tests only."""
        self.generation = generation
        self.epoch = 0
        self._dsn = dsn
        self._source_id = source_id
        self._clock = clock
        self._fence = fence
        self._prepare = prepare or (lambda _: None)
        self._connection: Connection | None = None

    def take_over(self) -> int:
        """Become the owner: end the former one's backend, raise the epoch, and return it."""
        connection = self._connect()
        try:
            with connection.cursor() as cursor:
                bind_instance(cursor, self._source_id)
                self._become_owner(cursor)
                self._prepare(cursor)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        log.info("generation %s: epoch %s is ours", self.generation, self.epoch)
        return self.epoch

    def _become_owner(self, cursor: Cursor) -> None:
        for _ in range(ATTEMPTS):
            former = self._row(cursor)
            self._terminate(cursor, former)
            if self._raise_epoch(cursor, former):
                return
            self._clock.sleep(0.5)
        raise RefusedError(
            f"expected to become owner of generation {self.generation}, found its owner row locked or taken by others"
            f" {ATTEMPTS} times; look at ops.stream_owner and pg_stat_activity for a second driver"
        )

    def connection(self) -> Connection:
        """The writer's connection; a lost one is made anew, after the epoch was found to be still ours."""
        if self._connection is None or self._connection.closed:
            connection = self._connect()
            try:
                with connection.cursor() as cursor:
                    self._return(cursor)
                    self._prepare(cursor)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def fence(self, cursor: Cursor) -> None:
        """Inside the batch's transaction: lock the owner row if the epoch is still ours, else `FencedError`."""
        if not self._fence:
            return
        cursor.execute(
            "SELECT epoch FROM ops.stream_owner WHERE generation = %s AND epoch = %s FOR UPDATE",
            (self.generation, self.epoch),
        )
        if cursor.fetchone() is None:
            self._raise_lost(cursor)

    def lose(self) -> None:
        """Give up the connection, so that the next use makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> Connection:
        return connect(self._dsn, f"wikiweir-speed-g{self.generation}")

    def _row(self, cursor: Cursor) -> _Row:
        cursor.execute(
            "SELECT epoch, backend_pid, backend_start, driver FROM ops.stream_owner WHERE generation = %s",
            (self.generation,),
        )
        row = cursor.fetchone()
        if row is None:
            raise RefusedError(f"expected generation {self.generation} in ops.stream_owner, found no such row")
        return _Row(*row)

    def _terminate(self, cursor: Cursor, former: _Row) -> None:
        if not self._fence or former.backend_pid is None:
            return
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE pid = %s AND backend_start = %s AND pid <> pg_backend_pid()",
            (former.backend_pid, former.backend_start),
        )
        if cursor.fetchone() is not None:
            log.warning("generation %s: ended the backend of the former owner %s", self.generation, former.driver)

    def _raise_epoch(self, cursor: Cursor, former: _Row) -> bool:
        """Whether nobody else was faster. A locked row counts as "not yet": its holder is terminated next time."""
        try:
            cursor.execute("SET lock_timeout = '3s'")
            cursor.execute(
                "UPDATE ops.stream_owner SET epoch = epoch + 1, backend_pid = pg_backend_pid(), taken_at = now(),"
                " backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),"
                " driver = %s WHERE generation = %s AND epoch = %s RETURNING epoch",
                (driver_name(), self.generation, former.epoch),
            )
            row = cursor.fetchone()
        except psycopg2.errors.LockNotAvailable:
            return False
        finally:
            if not cursor.connection.closed:
                cursor.execute("SET lock_timeout = '15s'")
        if row is None:
            return False
        self.epoch = int(row[0])
        return True

    def _return(self, cursor: Cursor) -> None:
        """Write our new backend into the owner row, which is committed before any batch uses it."""
        cursor.execute(
            "UPDATE ops.stream_owner SET backend_pid = pg_backend_pid(),"
            " backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())"
            " WHERE generation = %s AND (epoch = %s OR NOT %s)",
            (self.generation, self.epoch, self._fence),
        )
        if cursor.rowcount == 0:
            self._raise_lost(cursor)
        log.warning("generation %s: the connection was lost; epoch %s is still ours", self.generation, self.epoch)

    def _raise_lost(self, cursor: Cursor) -> None:
        cursor.execute(
            "SELECT g.state, o.epoch, o.driver FROM ops.generations g LEFT JOIN ops.stream_owner o USING (generation)"
            " WHERE g.generation = %s",
            (self.generation,),
        )
        state, epoch, driver = cursor.fetchone() or ("dropped", None, None)
        if state in ("retired", "dropped"):
            raise RetiredError(f"generation {self.generation} is {state}; readers see another one")
        raise FencedError(
            f"expected epoch {self.epoch} of generation {self.generation}, found {epoch} (driver {driver}):"
            " another driver has taken over. This one ends; start it again only when the other one is gone"
        )
