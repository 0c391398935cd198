"""What of Spark's configuration belongs to the machine: jars, memory, Java options, loopback addresses.

Written to `<home>/run/spark` as `spark-defaults.conf` and `log4j2.properties`; SQL settings are the jobs' own. The
surprising thing: the jars stand on the class path instead of in `spark.jars`, and the file is named by
`--properties-file` instead of SPARK_CONF_DIR, because class-data sharing takes neither copied jars nor a folder of
files on the class path; and sharing saves a third of the processor time of a start (measured: 24.5 s -> 17.5 s).
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from local import ports, toolchain
from local.instance import Instance
from wikiweir.redaction import HEX_LITERAL
from wikiweir.settings import Settings

_MESSAGE = f"%replace{{%m%n%ex}}{{{HEX_LITERAL}}}{{<redacted>}}"

BATCH_NICENESS = 10
"""Ten viewers are answered in 126 ms (p95) instead of 214 while an hour and its day are built. Where both
cores are busy all the time a build takes longer for it: an hour 109 s instead of 33 while ten people opened Pulse."""

LOG4J = f"""\
# Rendered by local.spark at every start.
status = warn
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d{{yyyy-MM-dd'T'HH:mm:ss.SSSXXX}}{{UTC}} %p %c{{1}}: {_MESSAGE}
rootLogger.level = warn
rootLogger.appenderRef.err.ref = err
# says at every start that the machine's native Hadoop library is missing, which nobody needs
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
"""


def render_defaults(
    settings: Settings, *, jars: list[Path], work: Path, log4j: Path, more_java_options: Sequence[str] = ()
) -> str:
    """`spark-defaults.conf` of a driver on this machine."""
    java_options = [
        # all cores collect: a stream batch of 100,000 events takes a tenth less time than with the serial collector
        "-XX:+UseParallelGC",
        # half the heap for what a micro-batch leaves behind
        "-XX:NewRatio=1",
        # a driver that has lost a thread to a full heap runs on and does nothing; ended, it is started again
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        # the optimising compiler begins three times later: 14 s of processor time a start instead of 17.5 (measured)
        "-XX:Tier4InvocationThreshold=15000",
        "-XX:Tier4MinInvocationThreshold=3000",
        "-XX:Tier4CompileThreshold=30000",
        "-XX:Tier4BackEdgeThreshold=120000",
        # the code of our projections is longer than what Java compiles by default: a third less processor time an event
        "-XX:-DontCompileHugeMethods",
        "-Djava.net.preferIPv4Stack=true",
        "-Duser.timezone=UTC",
        f"-Dlog4j2.configurationFile={log4j.as_uri()}",
        *more_java_options,
    ]
    class_path = ":".join(str(jar) for jar in jars)
    lines = {
        "spark.master": settings.spark_master,
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.driver.host": ports.LOOPBACK,
        "spark.driver.bindAddress": ports.LOOPBACK,
        "spark.driver.extraClassPath": class_path,
        "spark.executor.extraClassPath": class_path,
        "spark.driver.extraJavaOptions": " ".join(java_options),
        "spark.local.dir": work / "local",
        "spark.sql.warehouse.dir": (work / "warehouse").as_uri(),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    return "# Rendered by local.spark at every start.\n" + "".join(f"{key} {value}\n" for key, value in lines.items())


def write_configuration(instance: Instance, settings: Settings) -> Path:
    """Both files of an instance, and Airflow's `spark-submit`; the file that `--properties-file` takes."""
    patient = patient_submit(instance)
    patient.parent.mkdir(parents=True, exist_ok=True)
    patient.write_text(
        f"#!/bin/sh\n# Rendered by local.spark at every start.\n"
        f'exec nice -n {BATCH_NICENESS} {shlex.quote(str(toolchain.program("spark-submit")))} "$@"\n',
        encoding="utf-8",
    )
    patient.chmod(0o700)
    return write_files(settings, properties_file(instance), instance.run / "spark-work", shared_classes())


def write_files(settings: Settings, properties: Path, work: Path, more_java_options: Sequence[str] = ()) -> Path:
    """Both files: the properties, and the log's configuration beside them."""
    folder = properties.parent
    folder.mkdir(parents=True, exist_ok=True)
    log4j = folder / "log4j2.properties"
    log4j.write_text(LOG4J, encoding="utf-8")
    defaults = render_defaults(
        settings, jars=toolchain.jars("spark"), work=work, log4j=log4j, more_java_options=more_java_options
    )
    properties.write_text(defaults, encoding="utf-8")
    return properties


def properties_file(instance: Instance) -> Path:
    """Where an instance's Spark properties are."""
    return instance.run / "spark" / "spark-defaults.conf"


def patient_submit(instance: Instance) -> Path:
    """The `spark-submit` of Airflow's tasks: it leaves the cores to the stream and to those who look."""
    return properties_file(instance).with_name("spark-submit")


def class_archive() -> Path:
    """Where `local.share_classes` puts Spark's classes, parsed and verified."""
    return toolchain.root() / "spark-classes.jsa"


def shared_classes() -> list[str]:
    """The Java options that use the archive, if it has been made. A Java that it does not fit starts without it."""
    archive = class_archive()
    return [f'"-XX:SharedArchiveFile={archive}"', "-Xlog:cds=off"] if archive.exists() else []


def submit(properties: Path, script: Path) -> list[str]:
    """The command line of a Spark application."""
    return [str(toolchain.program("spark-submit")), "--properties-file", str(properties), str(script)]


def environment(settings: Settings) -> dict[str, str]:
    """What spark-submit needs in its environment."""
    return {
        "SPARK_LOCAL_IP": ports.LOOPBACK,
        "JAVA_HOME": str(toolchain.java(settings.java_home).resolve().parent.parent),
        "PYSPARK_PYTHON": str(toolchain.python()),
        "PYSPARK_DRIVER_PYTHON": str(toolchain.python()),
    }
