"""Connections of the jobs to PostgreSQL, and a transaction on one.

The surprising thing: every wait has an end. A table that somebody has locked fails a batch, which is then tried again
whole, instead of holding it unseen for ever.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

CONNECT: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # A table locked by somebody fails the batch, which is then retried whole, instead of waiting unseen for ever.
    "options": "-c lock_timeout=15s -c statement_timeout=120s -c idle_in_transaction_session_timeout=120s"
    " -c timezone=UTC",
}


def connect(dsn: str, name: str) -> Connection:
    """A connection in autocommit mode, with time-outs, under an application name that `pg_stat_activity` shows."""
    connection: Connection = psycopg2.connect(dsn, application_name=name, **CONNECT)
    connection.autocommit = True
    return connection


@contextmanager
def transaction(connection: Connection) -> Iterator[Cursor]:
    """BEGIN … COMMIT on a connection in autocommit mode."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            if not connection.closed:
                cursor.execute("ROLLBACK")
            raise
