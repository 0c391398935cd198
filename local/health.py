"""What `./weir up` waits for: a page that answers, a batch that is committed."""

import urllib.error
import urllib.request

import psycopg2

from wikiweir.settings import Settings


def answers(url: str) -> bool:
    """Whether the page says 200 at once."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


def database_time(settings: Settings) -> object:
    """What time PostgreSQL has: commits are compared with its own clock."""
    connection = psycopg2.connect(settings.postgres_dsn("reader"))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            return (cursor.fetchone() or (None,))[0]
    finally:
        connection.close()


def has_committed(settings: Settings, since: object) -> bool:
    """Whether the lake query runs, and the speed query has committed a batch since then or has nothing to commit."""
    connection = psycopg2.connect(settings.postgres_dsn("reader"), connect_timeout=3)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM ops.stream_progress"
                "               WHERE query = 'lake' AND updated_at >= %(since)s AND state = 'running')"
                " AND (EXISTS (SELECT FROM ops.stream_batches WHERE committed_at >= %(since)s)"
                "      OR EXISTS (SELECT FROM ops.stream_progress"
                "                 WHERE query = 'speed' AND updated_at >= %(since)s AND lag = 0))",
                {"since": since},
            )
            return bool((cursor.fetchone() or (False,))[0])
    finally:
        connection.close()
