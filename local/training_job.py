"""spark-submit application that touches what our jobs touch, so that `local.share_classes` sees those classes loaded.

Arguments: a Kafka address with a topic `training` of JSON, a folder to write to. Its results mean nothing.
"""

import sys
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession


def micro_batch(records: DataFrame, batch_id: int) -> None:
    """Parse, hash, aggregate, hand over as Arrow: the shape of the speed query's work."""
    parsed = records.selectExpr(
        "partition",
        "offset",
        "timestamp",
        "from_json(CAST(value AS STRING), 'id STRING, n BIGINT, deep STRUCT<t: STRING>') AS event",
        "transform(headers, h -> CAST(h.value AS STRING)) AS headers",
    ).selectExpr("*", "md5(event.id) AS hash", "try_to_timestamp(event.deep.t) AS at", "event.id RLIKE '^a' AS is_a")
    parsed.persist()
    parsed.groupBy("partition", "is_a").agg({"event.n": "sum", "at": "max"}).toArrow()
    first = parsed.selectExpr("*", "row_number() OVER (PARTITION BY hash ORDER BY partition, offset) AS copy")
    first.where("copy = 1").select("hash", "at").toArrow()
    parsed.unpersist()


def main(bootstrap: str, folder: Path) -> None:
    """One stream into a function, one into a Delta table, and a look at the table."""
    spark = SparkSession.builder.appName("training").config("spark.sql.shuffle.partitions", "2")
    spark = spark.config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    session = spark.config(
        "spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog"
    ).getOrCreate()
    source = session.readStream.format("kafka").option("kafka.bootstrap.servers", bootstrap)
    source = source.option("subscribe", "training").option("startingOffsets", "earliest")
    records = source.option("includeHeaders", "true").load()
    speed = records.writeStream.option("checkpointLocation", str(folder / "speed")).foreachBatch(micro_batch)
    lake = records.selectExpr("value", "timestamp", "CAST(timestamp AS DATE) AS day").writeStream.format("delta")
    lake = lake.partitionBy("day").option("checkpointLocation", str(folder / "lake"))
    for query in (
        speed.trigger(availableNow=True).start(),
        lake.trigger(availableNow=True).start(str(folder / "table")),
    ):
        query.awaitTermination()
    session.read.format("delta").load(str(folder / "table")).count()
    session.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
