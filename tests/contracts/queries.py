"""Statements of the contract tests."""

from typing import Any

from psycopg2.extensions import connection


def rows(connected: connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """What a statement answers; nothing if it answers nothing."""
    with connected.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []
