"""What operations would have written down about the invented hours: rows of `ops` that go with `bench.dashboard_rows`.

Published hours agree with their minutes, because all of it is counted from the same invented hour. The surprising
thing: now and then an hour has had late events, a warning or an incident, so that no dashboard is all green.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache

import pandas as pd
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json, execute_values

from bench import dashboard_facts
from bench.dashboard_sql import SCHEMA
from expectations import suites
from wikiweir.rollups import ROLLUPS, Rollup

TABLES = (
    "published_hours", "published_days", "ranked_periods", "hour_outcomes", "hour_ends", "reconciliation",
    "quality_results", "incidents", "stream_outcomes", "stream_batches", "stream_progress", "stream_gaps",
    "seen_partitions", "pruned_hours", "lake_tables", "dashboard_checks",
)  # fmt: skip
"""Of `ops`: what is emptied before it is filled."""
LATE_EVERY, WARNED_EVERY = 23, 17
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
Totals = Mapping[tuple[int, str, str], Decimal]
"""By level, rollup and metric."""
LAKE = (("bronze", 95e6), ("silver/facts", 42e6), ("quarantine", 4e4), ("gold/activity", 1.1e6),
        ("gold/user_activity", 6e6), ("gold/page_activity", 9e6), ("gold/edit_sizes", 8e5))  # fmt: skip
"""Bytes that an hour adds to the lake's tables."""


def _dice(hour: datetime) -> random.Random:
    return random.Random(f"ops:{hour:%Y%m%d%H}")


def _offsets(hour: datetime, seconds: float = 0) -> Json:
    at = int(((hour.timestamp() + seconds) - 1_767_225_600) * 18)
    return Json({"0": at, "1": at - at // 900})


def totals(cursor: Cursor) -> Totals:
    """What the invented hour adds up to at each level; of a time the latest, in seconds from the hour's beginning."""
    found: dict[tuple[int, str, str], Decimal] = {}
    for rollup in ROLLUPS:
        names = [metric.name for metric in rollup.additive]
        sums = [
            f"sum({metric.name})" if metric.merge == "sum" else f"max(extract(epoch FROM {metric.name}))"
            for metric in rollup.additive
        ]
        cursor.execute(f"SELECT level, {', '.join(sums)} FROM {SCHEMA}.{rollup.name}_hour GROUP BY level")
        for number, *values in cursor.fetchall():
            found |= {(number, rollup.name, name): value for name, value in zip(names, values, strict=True)}
    return found


def accounting(of: Totals, hour: datetime, part: float = 1.0) -> list[tuple[str, str, int]]:
    """(outcome, reason, records) of an hour, or of its beginning."""
    dice = _dice(hour)
    facts = int(of[dashboard_facts.level(hour), "activity", "events"] * Decimal(part))
    found = [("fact", "", facts), ("duplicate", "", int(facts * dice.uniform(0.001, 0.006))), ("canary", "", 8)]
    for reason, most in (("no_meta_id", 9), ("title_too_long", 4), ("user_too_long", 2)):
        if records := dice.randrange(most):
            found.append(("rejected", reason, records))
    return found


def publish_hour(cursor: Cursor, of: Totals, run_id: str, hour: datetime, now: datetime) -> None:
    """Everything that a run of the batch layer writes down about an hour."""
    dice, age = _dice(hour), (now - hour) // HOUR
    seconds = {
        "cleaned": dice.uniform(9, 14), "aggregated": dice.uniform(14, 22), "checked": dice.uniform(5, 8),
        "promoted": dice.uniform(11, 17), "published": dice.uniform(8, 14), "reconciled": dice.uniform(2, 4),
    }  # fmt: skip
    ready = hour + HOUR + dice.uniform(91, 130) * SECOND
    published_at = ready + sum(seconds.values()) * SECOND
    version = 2 if dice.random() < 0.1 else 1
    lake = {name: 4000 - age for name, _ in LAKE if name not in ("bronze", "quarantine")}
    outcomes = accounting(of, hour)
    cursor.execute(
        "INSERT INTO ops.published_hours"
        " (hour, version, bronze_version, bronze_rows, end_offsets, run_id, published_at, lake_versions, seconds)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            hour, version, 90_000 - age * 60, sum(records for _, _, records in outcomes), _offsets(hour, 3700), run_id,
            published_at, Json(lake), Json({name: round(value, 3) for name, value in seconds.items()}),
        ),
    )  # fmt: skip
    _end(cursor, hour, ready)
    execute_values(
        cursor,
        "INSERT INTO ops.hour_outcomes (hour, outcome, reason, records) VALUES %s",
        [(hour, *row) for row in outcomes],
    )
    _reconcile(cursor, of, run_id, hour, published_at)
    _judge(cursor, run_id, hour, published_at)


def _end(cursor: Cursor, hour: datetime, ready: datetime) -> None:
    cursor.execute(
        "INSERT INTO ops.hour_ends (hour, cursor_at, end_offsets, recorded_at) VALUES (%s, %s, %s, %s)",
        (hour, ready - SECOND, _offsets(hour, 3600), ready),
    )


def _reconcile(cursor: Cursor, of: Totals, run_id: str, hour: datetime, judged_at: datetime) -> None:
    late = 3 if int(hour.timestamp()) // 3600 % LATE_EVERY == 0 else 0
    sums = [("records", "records", Decimal(sum(records for _, _, records in accounting(of, hour))), late)]
    for rollup in ROLLUPS:
        for metric in rollup.additive:
            total = of[dashboard_facts.level(hour), rollup.name, metric.name]
            if metric.merge == "max":
                total += Decimal(hour.timestamp())
            sums.append((rollup.name, metric.name, total, late if metric.name in ("events", "edits") else 0))
    execute_values(
        cursor,
        "INSERT INTO ops.reconciliation"
        " (hour, rollup, metric, speed, batch, keys_differing, verdict, ledger_offsets, run_id, judged_at) VALUES %s",
        [
            (
                hour, rollup, metric, total - differs, total, differs, "explained" if differs else "equal",
                _offsets(hour, 3720), run_id, judged_at,
            )
            for rollup, metric, total, differs in sums
        ],
    )  # fmt: skip


@cache
def _expected() -> list[tuple[str, str, str]]:
    """Suite, expectation and severity of what an hour is held to."""
    found = []
    for rollup in ROLLUPS:
        for grain in ("minute", "hour"):
            suite = suites.of_rollup(rollup, grain, _no_rows(rollup))
            for expectation in suite.expectations:
                told = expectation.configuration.kwargs
                columns = [told[name] for name in ("column", "column_A", "column_B") if name in told]
                name = f"{expectation.expectation_type}({', '.join([*columns, *told.get('column_list', ())])})"
                found.append((suite.name, name, str(expectation.severity.value)))
    return list(dict.fromkeys(found))


def _no_rows(rollup: Rollup) -> pd.DataFrame:
    return pd.DataFrame(columns=["window", *rollup.columns])


def _judge(cursor: Cursor, run_id: str, hour: datetime, judged_at: datetime) -> None:
    rows = [(run_id, hour, *what, True, Json({"unexpected_count": 0}), "", judged_at) for what in _expected()]
    for left, right, law in suites.LAWS:
        name = f"expect_column_pair_values_to_be_equal({left}, {right})"
        rows.append((run_id, hour, "laws", name, "critical", True, Json({"unexpected_count": 0}), law, judged_at))
    is_usual = int(hour.timestamp()) // 3600 % WARNED_EVERY != 0
    volume = "expect_column_values_to_be_between(facts)"
    seen = Json({"unexpected_count": int(not is_usual)})
    rows.append((run_id, hour, "volume", volume, "warning", is_usual, seen, "", judged_at))
    execute_values(
        cursor,
        "INSERT INTO ops.quality_results"
        " (run_id, hour, suite, expectation, severity, success, observed, description, judged_at) VALUES %s",
        rows,
        page_size=500,
    )


def publish_day(cursor: Cursor, run_id: str, day: datetime, hours: Sequence[datetime]) -> None:
    """A day as made of these hours; the sum of their versions stands with them."""
    cursor.execute(
        "INSERT INTO ops.published_days (day, version, hours, hour_versions, as_of, run_id, published_at)"
        " SELECT %(day)s, %(hours)s, %(hours)s, sum(p.version), %(as_of)s, %(run_id)s, max(p.published_at)"
        " FROM ops.published_hours AS p WHERE p.hour >= %(day)s AND p.hour < %(day)s + interval '1 day'",
        {"day": day, "hours": len(hours), "as_of": max(hours) + HOUR, "run_id": run_id},
    )


def took_in(cursor: Cursor, of: Totals, generation: int, hour: datetime, now: datetime) -> None:
    """What the speed layer counted of an hour, as far as it has come."""
    part = min(1.0, (now - hour) / HOUR)
    execute_values(
        cursor,
        "INSERT INTO ops.stream_outcomes (generation, event_hour, outcome, reason, records) VALUES %s",
        [(generation, hour, *row) for row in accounting(of, hour, part)],
    )


def running(cursor: Cursor, generation: int, run_id: str, now: datetime) -> None:
    """Both queries at the end of Kafka, half an hour of the ledger, what happened of late, the lake's size by day."""
    before = now.replace(minute=0, second=0, microsecond=0) - HOUR
    _end(cursor, before, before + HOUR + 95 * SECOND)
    for query, lag in (("speed", 0), ("lake", 1200)):
        cursor.execute(
            "INSERT INTO ops.stream_progress (query, generation, state, updated_at, checkpoint_id, batch_id,"
            " end_offsets, kafka_end_offsets, lag, rows_per_second, newest_event_at, seconds_behind)"
            " VALUES (%s, %s, 'running', %s, %s, 1800, %s, %s, %s, 36.4, %s, %s)",
            (
                query, generation if query == "speed" else None, now, run_id, _offsets(now, -lag / 36), _offsets(now),
                lag, now - SECOND, lag / 36,
            ),
        )  # fmt: skip
    ledger = []
    for number in range(1800):
        at = now - (1800 - number) * SECOND
        facts = _dice(at).randrange(20, 60)
        ledger.append(
            (generation, number + 1, run_id, number, _offsets(at, -1), _offsets(at), facts, facts, 0, 0, 0, 0,
             "-infinity", 1, at - SECOND, at, at)
        )  # fmt: skip
    execute_values(
        cursor,
        "INSERT INTO ops.stream_batches (generation, sequence, checkpoint_id, batch_id, start_offsets, end_offsets,"
        " received, facts, duplicates, canaries, rejected, left_to_batch, seen_floor, owner_epoch, oldest_kafka_time,"
        " newest_kafka_time, committed_at) VALUES %s",
        ledger,
        page_size=500,
    )
    execute_values(
        cursor,
        "INSERT INTO ops.incidents (opened_at, closed_at, kind, subject, message) VALUES %s",
        [
            (now - 50 * HOUR, now - 49 * HOUR, "checkpoint_retired", "speed", "the checkpoint was behind the ledger"),
            (now - 20 * HOUR, now - 19 * HOUR, "hour_blocked", f"{now - 21 * HOUR:%Y-%m-%dT%H}",
             "hour was not published, because what must hold of it does not"),
            (now - 2 * HOUR, None, "events_lost", "lake", "invented: 3 records were never read"),
        ],
    )  # fmt: skip
    today = now.replace(hour=4, minute=20, second=0, microsecond=0)
    days = [today - number * timedelta(days=1) for number in range(31) if today - number * 24 * HOUR < now]
    execute_values(
        cursor,
        "INSERT INTO ops.lake_tables (table_name, measured_at, files, bytes) VALUES %s",
        [
            (name, day, 60 + 24 * (31 - number), int(size * 24 * (32 - number) * 0.75))
            for number, day in enumerate(days)
            for name, size in LAKE
        ],
    )
