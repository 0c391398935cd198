"""The limit: DuckDB over the same events (NDJSON, or an hour of bronze), same rollups, same de-duplication.

No Kafka, no network, no transaction with a reader beside it: what the arithmetic itself costs on this machine. The
surprising thing: it is also the judge, because its SQL shares nothing with Spark's but the metric expressions and
`definitions.toml`.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from wikiweir.clock import SystemClock
from wikiweir.definitions import definitions
from wikiweir.rollups import RECENT_CHANGES, RECENT_CHANGES_WINDOW_HOURS, ROLLUPS, Rollup

FIELDS = """STRUCT(
    meta STRUCT(id VARCHAR, dt VARCHAR, "domain" VARCHAR),
    "type" VARCHAR, wiki VARCHAR, "namespace" BIGINT, title VARCHAR, "user" VARCHAR, server_name VARCHAR,
    "comment" VARCHAR, log_type VARCHAR, log_action VARCHAR, "timestamp" BIGINT,
    bot BOOLEAN, minor BOOLEAN, patrolled BOOLEAN,
    length STRUCT("old" BIGINT, "new" BIGINT), revision STRUCT("old" BIGINT, "new" BIGINT))"""


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _texts(values: list[str]) -> str:
    return ", ".join(map(_text, values))


def _blob(value: bytes) -> str:
    return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"


def _is_address(name: str) -> str:
    rules = definitions()["user_class"]
    return (
        f"coalesce(regexp_full_match({name}, {_text(rules['ipv4'])})"
        f" OR (contains({name}, ':') AND regexp_full_match({name}, {_text(rules['ipv6'])})), false)"
    )


def _network(address: str) -> str:
    before, after = (
        f"list_filter(string_split(split_part({address}, '::', {part}), ':'), lambda g: g <> '')" for part in (1, 2)
    )
    groups = f"({before} || list_resize([]::VARCHAR[], 8 - len({before}) - len({after}), '0') || {after})[1:3]"
    shown = f"list_transform({groups}, lambda g: upper(CASE WHEN ltrim(g, '0') = '' THEN '0' ELSE ltrim(g, '0') END))"
    return (
        f"CASE WHEN contains({address}, ':') THEN array_to_string({shown}, ':') || '::/48'"
        f" ELSE regexp_replace({address}, '[0-9]+$', '0/24') END"
    )


def _user_key(name: str, secret: bytes) -> str:
    key = (hashlib.sha256(secret).digest() if len(secret) > 64 else secret).ljust(64, b"\0")
    inner, outer = (_blob(bytes(byte ^ pad for byte in key)) for pad in (0x36, 0x5C))
    return f"left(sha256({outer} || unhex(sha256({inner} || encode({name})))), 32)"


def _classify(secret: bytes) -> str:
    """The columns that rollups and recent_changes name, over `first_copies`; times are microseconds."""
    rules = definitions()
    missing, sites, prefixes = rules["missing"], rules["sites"], rules["reverts"]["prefixes"]
    decades = sorted(rules["size_bucket"]["decades"], reverse=True)
    decade = " ".join(f"WHEN abs(bytes_changed) >= {bound} THEN {_text(label)}" for bound, label in decades)
    by_language = ", ".join(f"{_text(language)}: [{_texts(literals)}]" for language, literals in prefixes.items())
    projects = "|".join(sites["language_projects"])
    language = (
        f"CASE WHEN regexp_full_match(e.server_name, '[^.]*[.](?:[^.]*[.])*(?:{projects})[.]org')"
        f" AND split_part(e.server_name, '.', 1) NOT IN ({_texts(sites['no_language'])})"
        " THEN split_part(e.server_name, '.', 1) ELSE 'none' END"
    )
    literals = f"coalesce(m.prefixes[{language}], m.prefixes['none'])"
    heads = sorted({prefix[:2] for values in prefixes.values() for prefix in values})
    masked = ", ".join(map(str, rules["masking"]["title_namespaces"]))
    limit = rules["text"]["max_bytes"]
    too_long = " OR ".join(
        f"strlen(coalesce(e.\"{name}\", '')) > {limit}" for name in ("title", "user", "wiki", "type")
    )
    return f"""
    WITH m AS (SELECT MAP {{{by_language}}} AS prefixes),
    sized AS (
        SELECT *,
            coalesce(e.type IN ({_texts(rules["type"]["edits"])}), false) AS is_edit,
            {_is_address('e."user"')} AS is_address,
            CASE WHEN e.namespace IN ({masked}) AND contains(e.title, ':')
                THEN split_part(substr(e.title, strpos(e.title, ':') + 1), '/', 1) END AS page_root
        FROM first_copies WHERE event_id IS NOT NULL AND NOT is_canary AND NOT ({too_long})
    ),
    counted AS (
        SELECT *, CASE WHEN is_edit THEN e.length.new - coalesce(e.length.old, 0) END AS bytes_changed FROM sized
    )
    SELECT
        kafka_us AS received_at, event_id, event_time,
        event_time - event_time % 60000000 AS window_start,
        coalesce(e.wiki, {_text(missing["wiki"])}) AS wiki,
        coalesce(e.type, {_text(missing["type"])}) AS "type",
        coalesce(e.namespace, {missing["namespace"]}) AS "namespace",
        CASE WHEN page_root IS NOT NULL AND {_is_address("page_root")}
            THEN left(e.title, strpos(e.title, ':')) || {_network("page_root")}
                || substr(e.title, strpos(e.title, ':') + 1 + length(page_root))
            ELSE coalesce(e.title, {_text(missing["title"])}) END AS title,
        CASE WHEN e."user" IS NULL THEN repeat('0', 32) ELSE {_user_key('e."user"', secret)} END AS user_key,
        CASE WHEN is_address THEN {_network('e."user"')}
            ELSE coalesce(e."user", {_text(missing["user_name"])}) END AS user_name,
        CASE WHEN e."user" IS NULL THEN 'hidden' WHEN e.bot THEN 'bot'
            WHEN regexp_full_match(e."user", {_text(rules["user_class"]["temporary"])}) THEN 'temporary'
            WHEN is_address THEN 'anonymous' ELSE 'registered' END AS user_class,
        CASE WHEN is_edit THEN CASE WHEN e.minor THEN 'minor' ELSE 'major' END END AS severity,
        bytes_changed,
        is_edit AND left(e.comment, 2) IN ({_texts(heads)})
            AND len(list_filter({literals}, lambda p: starts_with(e.comment, p))) > 0 AS is_revert,
        is_edit AND coalesce(NOT e.patrolled, false) AS is_unpatrolled,
        e.revision.old AS old_revision, e.revision.new AS new_revision, e.log_type AS log_type,
        e.log_action AS log_action,
        is_edit, coalesce(e.type IN ({_texts(rules["type"]["new_pages"])}), false) AS is_new_page,
        is_edit AND coalesce(e.minor, false) AS is_minor,
        greatest(coalesce(bytes_changed, 0), 0) AS bytes_added,
        greatest(-coalesce(bytes_changed, 0), 0) AS bytes_removed,
        CASE WHEN bytes_changed IS NULL THEN {_text(missing["size_bucket"])} WHEN bytes_changed = 0 THEN '0'
            ELSE (CASE WHEN bytes_changed > 0 THEN '+' ELSE '-' END) || CASE {decade} END END AS size_bucket
    FROM counted, m"""


def _aggregate(rollup: Rollup) -> str:
    dimensions = ", ".join(f'"{dimension.name}"' for dimension in rollup.dimensions)
    metrics = ", ".join(f"{metric.aggregate} AS {metric.name}" for metric in rollup.additive)
    keys = f"window_start, {dimensions}"
    return f"SELECT {keys}, {metrics} FROM facts WHERE {rollup.where} GROUP BY {keys}"


class Limit:
    """A DuckDB that takes files one after another and keeps their sums."""

    def __init__(self, secret: bytes, threads: int) -> None:
        self._db = duckdb.connect(":memory:", config={"threads": threads})
        self._classify = _classify(secret)
        self._seen = "CREATE TABLE seen (event_id VARCHAR, key_hour BIGINT)"
        self._db.execute(self._seen)
        self._is_first = True

    def take(self, file: Path) -> float:
        """Add one batch file (`{"kafka_ms": …, "event": …}` a line); seconds it took."""
        columns = f"{{kafka_ms: 'BIGINT', event: '{FIELDS}'}}"
        records = f"FROM read_json('{file}', format = 'newline_delimited', columns = {columns})"
        return self._take(records, with_recent=True)

    def take_bronze(self, files: Iterable[Path]) -> float:
        """Add the rows of bronze's data files; seconds it took. What is no JSON is a row without an event."""
        event = f"TRY_CAST(TRY_CAST(decode(raw) AS JSON) AS {FIELDS}) AS event"
        parquet = f"read_parquet([{_texts([str(file) for file in files])}], hive_partitioning = false)"
        return self._take(f"SELECT epoch_ms(kafka_time) AS kafka_ms, {event} FROM {parquet}", with_recent=False)

    def _take(self, records: str, *, with_recent: bool) -> float:
        """Add the records of a query of kafka_ms and event."""
        clock = SystemClock()
        began = clock.monotonic()
        self._db.execute(f"""
            CREATE OR REPLACE TEMP TABLE first_copies AS
            SELECT * FROM (
                SELECT kafka_ms * 1000 AS kafka_us, event AS e, lower(event.meta.id) AS event_id,
                    coalesce(event.meta.domain = 'canary', false) AS is_canary,
                    epoch_us(CAST(event.meta.dt AS TIMESTAMP)) AS meta_us,
                    meta_us - meta_us % 3600000000 AS key_hour,
                    coalesce(event.timestamp * 1000000, meta_us) AS event_time
                FROM ({records})
            ) AS read ANTI JOIN seen USING (event_id, key_hour)
            QUALIFY row_number() OVER (PARTITION BY event_id, key_hour ORDER BY kafka_us) = 1""")
        self._db.execute("INSERT INTO seen SELECT event_id, key_hour FROM first_copies")
        self._db.execute(f"CREATE OR REPLACE TEMP TABLE facts AS {self._classify}")
        for rollup in ROLLUPS:
            self._keep(rollup.name, _aggregate(rollup))
        if with_recent:
            columns = ", ".join(f'"{column.name}"' for column in RECENT_CHANGES)
            young = f"event_time > received_at - {RECENT_CHANGES_WINDOW_HOURS * 3_600_000_000}"
            self._keep("recent_changes", f"SELECT {columns} FROM facts WHERE {young}")
        self._is_first = False
        return clock.monotonic() - began

    def _keep(self, table: str, query: str) -> None:
        self._db.execute(f"CREATE TABLE {table} AS {query}" if self._is_first else f"INSERT INTO {table} {query}")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query over the kept tables."""
        return self._db.execute(query).fetchall()
