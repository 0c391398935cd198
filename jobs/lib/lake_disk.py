"""What each table of the lake takes on disk -> `ops.lake_tables`, for the operations dashboard.

The surprising thing: it counts files, not what Delta's log says of the newest version. Files that only older versions
need are on the disk too, and they are what fills it when something keeps VACUUM from its work.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor
from pyspark.sql import SparkSession

from jobs.lib.tables import LakeTable, exists
from wikiweir.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Size:
    """Files of a table, its log included."""

    files: int
    bytes: int


def sizes(spark: SparkSession, tables: Iterable[LakeTable], settings: Settings) -> Mapping[LakeTable, Size]:
    """Of each table that is there; by its files' listing, on whatever store the lake is."""
    found = {}
    hadoop = spark._jsparkSession.sessionState().newHadoopConf()
    for table in tables:
        if exists(spark, location := table.path(settings)):
            path = spark._jvm.org.apache.hadoop.fs.Path(location)  # type: ignore[union-attr]
            summary = path.getFileSystem(hadoop).getContentSummary(path)
            found[table] = Size(int(summary.getFileCount()), int(summary.getLength()))
    return found


def write_down(cursor: Cursor, found: Mapping[LakeTable, Size]) -> None:
    """All with the time of now."""
    for table, size in found.items():
        cursor.execute(
            "INSERT INTO ops.lake_tables (table_name, files, bytes) VALUES (%s, %s, %s)",
            (table.name, size.files, size.bytes),
        )
        log.info("%s: %s files, %s MB", table.name, f"{size.files:,}", f"{size.bytes / 1e6:,.1f}")
