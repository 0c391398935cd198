"""What user keys are made with stands in Spark's plan; no text that Spark makes of it may show it."""

import re

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.lib.classify import classify
from jobs.lib.parse import parse
from local.spark import LOG4J
from tests.spark.records import kafka_frame
from wikiweir.redaction import redact

SECRET = b"invented, and of no use"
PADS = [bytes(byte ^ pad for byte in SECRET.ljust(64, b"\0")).hex().upper() for pad in (0x36, 0x5C)]
LINE = b'{"meta": {"id": "1", "dt": "2026-11-20T10:00:00Z"}, "type": "edit", "user": "Heron"}'


def shown_in(text: str) -> list[str]:
    return [pad for pad in PADS if pad in text.upper()]


def test_a_printed_plan_shows_no_key_material(spark: SparkSession) -> None:
    frame = classify(parse(kafka_frame(spark, [LINE])), user_key_secret=SECRET, mask_addresses=True)
    execution = frame._jdf.queryExecution()
    assert shown_in(execution.analyzed().toString()), "the plan itself holds it"
    printed = execution.toString() + execution.simpleString() + execution.stringWithStats()
    assert "sha2" in printed
    assert not shown_in(printed)


def test_a_failure_shows_no_key_material(spark: SparkSession) -> None:
    frame = classify(parse(kafka_frame(spark, [LINE])), user_key_secret=SECRET, mask_addresses=True)
    with pytest.raises(PySparkException) as failed:
        frame.selectExpr("user_key / 0", "no_such_column").collect()
    assert not shown_in(redact(str(failed.value)))
    with pytest.raises(PySparkException) as failed:
        frame.selectExpr("CAST(user_key AS INT)").collect()
    assert not shown_in(redact(str(failed.value)))


def test_log_lines_and_stack_traces_show_no_key_material(spark: SparkSession) -> None:
    jvm = spark._jvm
    assert jvm is not None
    log4j = jvm.org.apache.logging.log4j
    [pattern] = re.findall(r"layout\.pattern = (.*)", LOG4J)
    layout = log4j.core.layout.PatternLayout.newBuilder().withPattern(pattern).build()
    plan = f"Project [sha2(concat(0x{PADS[0]}, x), 256), X'{PADS[1].lower()}']"
    event = (
        log4j.core.impl.Log4jLogEvent.newBuilder()
        .setLoggerName("org.apache.spark.sql.Query")
        .setLevel(log4j.Level.ERROR)
        .setMessage(log4j.message.SimpleMessage(plan))
        .setThrown(jvm.java.lang.RuntimeException(plan))
        .build()
    )
    line = layout.toSerializable(event)
    assert "ERROR Query: Project [sha2(concat(<redacted>, x), 256), <redacted>']" in line
    assert "java.lang.RuntimeException: Project" in line
    assert not shown_in(line)
