"""Both layers of an hour held against each other on a real PostgreSQL, without Spark: each verdict and its incident."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from psycopg2.extensions import connection as Connection

from jobs.lib.publish import Source, publish
from jobs.lib.reconcile import reconcile
from tests.conftest import Postgres
from wikiweir.hours import Hour
from wikiweir.rollups import EDIT_SIZES, ROLLUPS

MINUTE = pa.timestamp("us", "UTC")
_numbers = iter(range(1000))


class Layers:
    """One hour of its own: what the speed layer counted, what the batch layer publishes."""

    def __init__(self, stream: Connection, batch: Connection, reader: Connection) -> None:
        self.stream, self.batch, self.reader = stream, batch, reader
        self.hour = Hour(datetime(2020, 4, 1, tzinfo=UTC) + timedelta(hours=next(_numbers)))
        self.ask(self.stream, "SELECT speed.ensure_partitions(1, %s::timestamptz[], '{}', '{}')", [self.hour.start])

    def ask(self, connection: Connection, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def speed(self, edits: int, *, records: int, ledger: int) -> None:
        """The speed layer has `edits` of one key after `records` of the hour, and is at offset `ledger`."""
        self.ask(
            self.stream,
            "INSERT INTO speed.edit_sizes AS s VALUES (1, %s, 'enwiki', 'bot', '0', %s)"
            " ON CONFLICT (generation, window_start, wiki, user_class, size_bucket)"
            " DO UPDATE SET edits = excluded.edits",
            self.hour.start, edits,
        )  # fmt: skip
        self.ask(
            self.stream,
            "INSERT INTO ops.stream_outcomes (generation, event_hour, outcome, records) VALUES (1, %s, 'fact', %s)"
            " ON CONFLICT (generation, event_hour, outcome, reason) DO UPDATE SET records = excluded.records",
            self.hour.start, records,
        )  # fmt: skip
        self.commit(ledger)

    def commit(self, ledger: int) -> None:
        """The speed layer is at offset `ledger`."""
        self.ask(
            self.stream,
            "INSERT INTO ops.stream_batches SELECT 1, n, 'c', n, '{}', jsonb_build_object('0', %s), 0, 0, 0, 0, 0, 0,"
            " '-infinity', 0 FROM (SELECT coalesce(max(sequence), 0) + 1 AS n FROM ops.stream_batches) AS b",
            ledger,
        )

    def publish(self, edits: int, *, records: int, end: int, left: int = 0) -> str:
        """Publish `edits` from a bronze that ends at offset `end`, and judge; the verdict."""
        source = Source(hour=self.hour, bronze_version=end, bronze_rows=records, end_offsets={0: end}, run_id="test")
        publish(self.batch, source, self.rows(edits), {("fact", ""): records}, {})
        return reconcile(self.batch, source, self.rows(left) if left else {})

    def rows(self, edits: int) -> dict[str, pa.Table]:
        minute = pa.array([self.hour.start], MINUTE)
        row = {"window_start": minute, "wiki": ["enwiki"], "user_class": ["bot"], "size_bucket": ["0"]}
        empty = {rollup.name: pa.table({}) for rollup in ROLLUPS}
        return {**empty, EDIT_SIZES.name: pa.table({**row, "edits": pa.array([edits], pa.int64())})}

    def found(self) -> tuple[Any, ...]:
        """The row of the only metric that is not 0: speed, batch, difference, keys, verdict."""
        [row] = self.ask(
            self.batch,
            "SELECT speed, batch, difference, keys_differing, verdict FROM ops.reconciliation"
            " WHERE hour = %s AND rollup = 'edit_sizes'",
            self.hour.start,
        )
        return tuple(row)

    @property
    def start(self) -> datetime:
        return self.hour.start

    def served(self) -> list[tuple[Any, ...]]:
        """What readers see of the hour."""
        return self.ask(self.reader, "SELECT * FROM serving.edit_sizes WHERE window_start = %s", self.start)

    def incidents(self) -> list[tuple[Any, ...]]:
        """Whether each incident of the hour is still open."""
        statement = "SELECT closed_at IS NULL FROM ops.incidents WHERE subject = %s ORDER BY id"
        return self.ask(self.batch, statement, str(self.hour))


@pytest.fixture
def layers(postgres: Postgres) -> Iterator[Layers]:
    with (
        closing(postgres.connect("stream")) as stream,
        closing(postgres.connect("batch")) as batch,
        closing(postgres.connect("reader")) as reader,
    ):
        yield Layers(stream, batch, reader)


def test_equal(layers: Layers) -> None:
    layers.speed(7, records=9, ledger=100)
    assert layers.publish(7, records=9, end=90) == "equal"
    assert layers.found() == (7, 7, 0, 0, "equal")
    assert layers.incidents() == []


def test_layers_that_took_in_the_same_and_differ_are_an_incident_until_they_agree(layers: Layers) -> None:
    layers.speed(6, records=9, ledger=100)
    assert layers.publish(7, records=9, end=90) == "differ"
    assert layers.found() == (6, 7, 1, 1, "differ")
    assert layers.publish(7, records=9, end=90) == "differ"
    assert layers.incidents() == [(True,)], "one, however often it is judged"
    layers.speed(7, records=9, ledger=100)
    assert layers.publish(7, records=9, end=90) == "equal"
    assert layers.incidents() == [(False,)]


def test_events_that_the_lake_does_not_hold_yet_are_waited_for(layers: Layers) -> None:
    layers.speed(8, records=10, ledger=100)
    assert layers.publish(7, records=9, end=90) == "pending"
    assert layers.incidents() == []
    assert layers.publish(8, records=10, end=100) == "equal"


def test_events_that_never_come_to_the_lake_differ(layers: Layers) -> None:
    layers.speed(8, records=10, ledger=100)
    assert layers.publish(7, records=9, end=90) == "pending"
    layers.speed(8, records=10, ledger=300)
    assert layers.publish(7, records=9, end=200) == "differ", "bronze has long what the speed layer had then"


def test_a_speed_layer_that_is_behind_is_waited_for_and_one_that_is_not_differs(layers: Layers) -> None:
    layers.speed(6, records=8, ledger=50)
    assert layers.publish(7, records=9, end=90) == "pending"
    layers.speed(6, records=9, ledger=50)
    assert layers.publish(7, records=9, end=90) == "pending", "as many records need not be the same ones"
    layers.speed(6, records=8, ledger=95)
    assert layers.publish(7, records=9, end=90) == "differ", "it is past bronze and has less"


def test_what_was_left_to_the_batch_explains_a_difference_to_the_event(layers: Layers) -> None:
    layers.speed(6, records=9, ledger=100)
    assert layers.publish(7, records=9, end=90, left=1) == "explained"
    assert layers.found() == (6, 7, 1, 1, "explained")
    assert layers.publish(8, records=9, end=90, left=1) == "differ", "one is left, two are missing"


def test_a_key_that_only_one_layer_has_is_a_difference(layers: Layers) -> None:
    layers.commit(90)
    assert layers.publish(0, records=0, end=90) == "differ"
    assert layers.found() == (0, 0, 0, 1, "differ")


def test_an_hour_whose_live_rows_were_dropped_is_served_as_before_and_judged_no_more(layers: Layers) -> None:
    layers.speed(7, records=9, ledger=100)
    layers.publish(7, records=9, end=90)
    served = layers.served()
    assert len(served) == 1
    layers.ask(layers.batch, "UPDATE ops.published_hours SET published_at = '2020-04-30' WHERE hour = %s", layers.start)
    layers.ask(layers.batch, "SELECT speed.expire_minutes('48 hours')")
    assert layers.ask(layers.batch, "SELECT FROM speed.edit_sizes WHERE window_start = %s", layers.start) == []
    assert layers.served() == served
    assert layers.publish(8, records=9, end=110) == "pruned"
    assert layers.found() == (0, 8, 8, 1, "pruned")
    assert layers.incidents() == []


def test_a_generation_that_went_live_after_the_drop_is_judged_again(layers: Layers) -> None:
    layers.speed(7, records=9, ledger=100)
    layers.publish(8, records=9, end=90)
    mark = "UPDATE ops.published_hours SET speed_pruned_at = '2020-05-01' WHERE hour = %s"
    layers.ask(layers.batch, mark, layers.start)
    assert layers.publish(8, records=9, end=90) == "differ"
