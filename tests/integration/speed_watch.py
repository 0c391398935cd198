"""What tests of the driver watch from outside: what the lake holds, and what a reader sees all the while."""

import threading
from contextlib import closing

import psycopg2

from tests.integration import evidence
from tests.integration.parts import wait_for
from tests.integration.speed_rig import Rig


def bronze(rig: Rig) -> list[tuple[int, int]]:
    """(partition, offset) of every row, in order."""
    table = rig.folder / "lake" / "bronze"
    return sorted((row["partition"], row["offset"]) for row in evidence.bronze_rows(table))


def in_kafka(rig: Rig) -> list[tuple[int, int]]:
    return sorted((int(p), offset) for p, end in rig.kafka_ends().items() for offset in range(end))


def wait_for_bronze(rig: Rig) -> None:
    wait_for(lambda: len(bronze(rig)) >= len(in_kafka(rig)), 240, lambda: f"bronze\n{rig.drivers[-1].log[-3000:]}")


class Watcher(threading.Thread):
    """A reader that polls what it could see of the live generation, and keeps every count that went down."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(daemon=True)
        self._dsn = rig.settings.postgres_dsn("reader")
        self.over = threading.Event()
        self.looks = 0
        self.falls: list[str] = []

    def run(self) -> None:
        before: tuple[int, ...] = (0, 0)
        with closing(psycopg2.connect(self._dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not self.over.wait(0.02):
                    cursor.execute(
                        "SELECT (SELECT coalesce(sum(edits), 0) FROM serving.activity),"
                        " (SELECT coalesce(sum(edits), 0) FROM serving.edit_sizes)"
                    )
                    now = tuple(int(number) for number in cursor.fetchone() or ())
                    if now[0] != now[1] or now < before:
                        self.falls.append(f"{before} then {now}")
                    before, self.looks = now, self.looks + 1
