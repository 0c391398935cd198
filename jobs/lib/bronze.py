"""Kafka records -> rows of the bronze table: the exact bytes, where they came from, who and when.

Every record has a row, also one that nobody can read (it stands in its Kafka hour). The surprising thing: `key_hour`
is kept, so that the batch finds an id's earlier copy even where two copies fall into different event hours.
"""

from pyspark.sql import DataFrame

from jobs.lib.parse import IDENTITY, identify
from wikiweir.records import RELAY_HEADER, SOURCE_HEADER

PARTITION_COLUMN = "event_hour"


def _header(name: str) -> str:
    return f"CAST(try_element_at(filter(headers, h -> h.key = '{name}'), 1).value AS STRING)"


def _part(header: str, position: int, sql_type: str) -> str:
    """A part of a header, counted from its end (-1 is the last); NULL if it is not there or not of the type."""
    part = f"nullif(split_part({header}, ';', {position}), '')"
    return part if sql_type == "STRING" else f"try_cast({part} AS {sql_type})"


def _instant(header: str, position: int) -> str:
    """A part that is epoch milliseconds; NULL for -1, which says unknown. (The bound keeps it from overflowing.)"""
    part = _part(header, position, "BIGINT")
    return f"IF({part} BETWEEN 0 AND 253402300799999, timestamp_millis({part}), NULL)"


def bronze(records: DataFrame) -> DataFrame:
    """Rows of bronze from records of the Kafka source read with `includeHeaders`; partitioned by `event_hour`."""
    return (
        identify(records)
        .selectExpr("*", f"{_header(SOURCE_HEADER)} AS source", f"{_header(RELAY_HEADER)} AS relay")
        .selectExpr(
            "topic",
            *IDENTITY,
            f"{_part('source', -4, 'STRING')} AS source_topic",
            f"{_part('source', -3, 'INT')} AS source_partition",
            f"{_part('source', -2, 'BIGINT')} AS source_offset",
            f"{_instant('source', -1)} AS source_time",
            f"{_part('relay', -3, 'STRING')} AS producer_run",
            f"{_part('relay', -2, 'BIGINT')} AS producer_sequence",
            f"{_instant('relay', -1)} AS relayed_at",
            "CAST(key AS STRING) AS key",
            "value AS raw",
        )
    )
