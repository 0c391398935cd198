"""Kafka records -> who each one is, when it happened, and the raw fields that classification needs.

Nothing is rejected here and no record can fail: what cannot be read is NULL, field by field. The surprising thing:
Spark reads any JSON value into a STRING column (`"user": 12` gives `12`), so text that could be something else is
looked at a second time.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pyspark.sql import DataFrame

from jobs.lib import sql
from wikiweir.definitions import definitions
from wikiweir.records import CANARY_DOMAIN

FIELDS = """
    meta STRUCT<id: STRING, dt: STRING, domain: STRING>,
    type STRING, wiki STRING, namespace BIGINT, title STRING, user STRING, server_name STRING, comment STRING,
    log_type STRING, log_action STRING,
    timestamp BIGINT, bot BOOLEAN, minor BOOLEAN, patrolled BOOLEAN,
    length STRUCT<old: BIGINT, new: BIGINT>, revision STRUCT<old: BIGINT, new: BIGINT>
"""
"""64-bit everywhere: an integer that overflows its type is read as NULL without a word; ids passed 2^31 long ago."""

OPTIONS = {
    "mode": "PERMISSIVE",
    # Strict JSON, as the producer reads it.
    "allowSingleQuotes": "false",
    "allowNonNumericNumbers": "false",
    # Limits of the JSON library that would turn the whole record to NULL; the size of a record is bounded by Kafka.
    "maxNestingDepth": "1000000",
    "maxNumLen": "20000000",
    "maxStringLen": "20000000",
}

UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

HOUR_MICROS = 3_600_000_000

SUMMARY_CHARACTERS = 64
"""How much of the edit summary is kept: enough for the longest prefix that tells a revert (a test holds this)."""

IDENTITY = (
    "partition",
    "offset",
    "kafka_time",
    "event_id",
    "key_hour",
    "event_time",
    "time_source",
    "event_hour",
    "is_canary",
)
"""What every record has, whatever it holds."""


TEXTS = ("meta.id", "type", "wiki", "title", "user", "server_name", "log_type", "log_action")
"""Fields that must be JSON strings to count; another type is as good as missing."""

OTHER_TYPES = {"number": "DOUBLE", "truth": "BOOLEAN", "list": "ARRAY<STRING>", "object": "STRUCT<a: INT>"}


NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
"""JSON's (RFC 8259), exactly: an IPv4 address that passed for one made its record be read four times more."""


def _from_json(schema: str) -> str:
    options = ", ".join(f"'{name}', '{value}'" for name, value in OPTIONS.items())
    return f"from_json(CAST(value AS STRING), '{' '.join(schema.split())}', map({options}))"


def _looks_like_no_text(field: str) -> str:
    """Whether text could have been read from another JSON type. (The comparisons spare nearly all text the pattern.)"""
    is_number = f"({field} >= '-' AND {field} < ':' AND {sql.matches(field, NUMBER)})"
    return f"({is_number} OR {field} IN ('true', 'false') OR startswith({field}, '[') OR startswith({field}, '{{'))"


def _other_types() -> str:
    """The record read again with every text field as each other type, or NULL where no field looks like one.

    One reading a type for all fields: the expressions of a batch are compiled at its start, and reading each field for
    itself (32 readings instead of 4) made the code so long that a batch of any size took seconds.
    """
    names = ", ".join(f"{name} {{0}}" for name in TEXTS if "." not in name)
    schema = f"meta STRUCT<id: {{0}}>, {names}"
    readings = ", ".join(f"'{kind}', {_from_json(schema.format(other))}" for kind, other in OTHER_TYPES.items())
    suspects = " OR ".join(f"coalesce({_looks_like_no_text(f'f.{path}')}, FALSE)" for path in TEXTS)
    return f"CASE WHEN {suspects} THEN named_struct({readings}) END"


def _text(path: str) -> str:
    """A text field as text; NULL if it is another JSON type; NUL, which PostgreSQL cannot hold, as U+FFFD."""
    is_other = " OR ".join(f"other.{kind}.{path} IS NOT NULL" for kind in OTHER_TYPES)
    return f"replace(IF({is_other}, NULL, f.{path}), '\\0', '\\uFFFD')"


def _hour(instant: str) -> str:
    """The hour an instant is in. (`date_trunc` asks the time zone's rules; in UTC this is the same and cheaper.)"""
    return f"timestamp_micros(unix_micros({instant}) - pmod(unix_micros({instant}), {HOUR_MICROS}))"


def identify(records: DataFrame) -> DataFrame:
    """Add the columns of `IDENTITY` (and `f`, the fields read) to records of the Kafka source.

    `event_id` is NULL where `meta.id` is missing; `time_source` says which clock `event_time` is: event, meta or kafka.
    """
    rules = definitions()["time"]
    ahead = f"INTERVAL {rules['max_meta_dt_ahead_of_kafka_seconds']} SECONDS"
    before = f"INTERVAL {rules['max_before_meta_dt_seconds']} SECONDS"
    after = f"INTERVAL {rules['max_after_meta_dt_seconds']} SECONDS"
    first, end, absurd = (
        f"TIMESTAMP '{rules[name].isoformat()}'" for name in ("key_hour_first", "key_hour_end", "key_hour_absurd")
    )
    return (
        records.withColumnRenamed("timestamp", "kafka_time")
        .selectExpr("*", f"{_from_json(FIELDS)} AS f")
        .selectExpr("*", f"{_other_types()} AS other")
        .selectExpr(
            "*",
            f"{_text('meta.id')} AS id",
            f"IF({sql.matches('f.meta.dt', rules['meta_dt'])}, try_cast(f.meta.dt AS TIMESTAMP), NULL) AS meta_dt",
            # outside these bounds timestamp_seconds() would overflow and stop the query
            "IF(f.timestamp BETWEEN -62135596800 AND 253402300799, timestamp_seconds(f.timestamp), NULL) AS event_dt",
            f"coalesce(f.meta.domain = {sql.text(CANARY_DOMAIN)}, FALSE) AS is_canary",
        )
        .selectExpr(
            "*",
            f"CASE WHEN {sql.matches('id', UUID)} THEN lower(id) WHEN id <> '' THEN md5(id) END AS event_id",
            f"IF(meta_dt >= {first} AND meta_dt < {end}, {_hour('meta_dt')}, {absurd}) AS key_hour",
            f"coalesce(meta_dt <= kafka_time + {ahead}, FALSE) AS has_meta_time",
        )
        .selectExpr("*", "IF(has_meta_time, meta_dt, kafka_time) AS arrived_at")
        .selectExpr(
            "*",
            f"coalesce(event_dt BETWEEN arrived_at - {before} AND arrived_at + {after}, FALSE) AS has_event_time",
        )
        .selectExpr(
            "*",
            "IF(has_event_time, event_dt, arrived_at) AS event_time",
            "CASE WHEN has_event_time THEN 'event' WHEN has_meta_time THEN 'meta' ELSE 'kafka' END AS time_source",
        )
        .selectExpr("*", f"{_hour('event_time')} AS event_hour")
    )


LAKE_ONLY = {
    "comment": "f.comment",
    "log_params": "IF(f.log_type IS NULL, NULL, get_json_object(CAST(value AS STRING), '$.log_params'))",
}
"""What only the lake's facts have, as SQL: the summary, unmasked, and a log entry's parameters: JSON text, because they
may be a list, an object, a string or false."""


def parse(records: DataFrame, more: Mapping[str, str] = MappingProxyType({})) -> DataFrame:
    """Records of the Kafka source -> `IDENTITY` and the raw fields that `classify` needs, narrow enough to keep.

    `more`: name -> SQL over the record that was read, for columns beside them.
    """
    return identify(records).selectExpr(
        *IDENTITY,
        f"{_text('type')} AS type",
        f"{_text('wiki')} AS wiki",
        "try_cast(f.namespace AS INT) AS namespace",
        f"{_text('title')} AS title",
        f"{_text('user')} AS user",
        f"{_text('server_name')} AS server_name",
        f"substring(f.comment, 1, {SUMMARY_CHARACTERS}) AS summary_start",
        f"{_text('log_type')} AS log_type",
        f"{_text('log_action')} AS log_action",
        "f.bot AS bot",
        "f.minor AS minor",
        "f.patrolled AS patrolled",
        "f.length.old AS old_length",
        "f.length.new AS new_length",
        "f.revision.old AS old_revision",
        "f.revision.new AS new_revision",
        *sql.named(more),
    )
