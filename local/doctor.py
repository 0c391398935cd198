"""`./weir doctor`: what the machine has, what the instance needs, and what to do where the two differ."""

import os
import platform
import sys
from dataclasses import dataclass
from typing import Literal

import psutil

from local import bootstrap, chromium, health, instance, ports, postgres, spark, stack, superset, toolchain
from local.supervision import Supervisor
from wikiweir.settings import Settings, load

MEMORY_BYTES = 3 * stack.GIB
"""What the stack takes without Airflow and Superset."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    grade: Literal["ok", "note", "bad"]
    subject: str
    text: str


def examine() -> list[Finding]:
    """All findings; nothing is changed."""
    target = instance.current()
    findings = [_system(), _java(), _memory(), _space(target), *_jars(), _classes(), _browser()]
    findings += _postgres_account()
    if not target.exists:
        return [*findings, Finding("note", "instance", f"none in {target.home} yet; ./weir up makes one")]
    return [*findings, *_instance(target)]


def _system() -> Finding:
    text = f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    if sys.platform == "linux":
        return Finding("ok", "system", text)
    return Finding("note", "system", f"{text}; shown to work on Debian 12, elsewhere as far as its parts allow")


def _java() -> Finding:
    try:
        java = toolchain.java()
    except toolchain.ToolMissingError as problem:
        return Finding("bad", "Java", str(problem))
    return Finding("ok", "Java", f"{bootstrap.java_version(java)} ({java})")


def _memory() -> Finding:
    available = psutil.virtual_memory().available
    text = f"{available / stack.GIB:.1f} GiB available, the stack takes about {MEMORY_BYTES / stack.GIB:.0f}"
    if available < MEMORY_BYTES:
        return Finding(
            "note",
            "memory",
            f"{text}; fine if it runs already, else end something or lower WIKIWEIR_SPARK_DRIVER_MEMORY",
        )
    return Finding("ok", "memory", text)


def _space(target: instance.Instance) -> Finding:
    free = stack.free_bytes(target)
    text = f"{free / stack.GIB:.1f} GiB free for {target.home}"
    if free < stack.REFUSED_BELOW_BYTES:
        least = stack.REFUSED_BELOW_BYTES / stack.GIB
        return Finding("bad", "disk", f"{text}, expected at least {least:.0f}; make room or set WIKIWEIR_HOME")
    if free < stack.WARNED_BELOW_BYTES:
        return Finding("note", "disk", f"{text}; Kafka's retention alone may take more (WIKIWEIR_KEEP_KAFKA_BYTES)")
    return Finding("ok", "disk", text)


def _jars() -> list[Finding]:
    findings = []
    for kind in bootstrap.JAR_SETS:
        pinned = bootstrap.pinned_jars(kind)
        if bootstrap.verified(toolchain.root() / "jars" / kind, pinned):
            findings.append(Finding("ok", f"{kind} jars", f"{len(pinned)}, checksums right"))
        else:
            stamp = toolchain.root() / "stamp.json"
            text = f"not those of local/jars/{kind}.sha256; delete {stamp} and run any ./weir command"
            findings.append(Finding("bad", f"{kind} jars", text))
    return findings


def _classes() -> Finding:
    if spark.class_archive().exists():
        return Finding("ok", "Spark's classes", f"shared ({spark.class_archive().stat().st_size / 1e6:.0f} MB)")
    return Finding("note", "Spark's classes", "not shared, so its starts are slower; python -m local.share_classes")


def _browser() -> Finding:
    if found := chromium.find():
        return Finding("ok", "browser", f"{found}, for the tests of the dashboards")
    return Finding("note", "browser", f"no Chromium, which {chromium.NEEDED_FOR}; {chromium.BY_HAND}")


def _postgres_account() -> list[Finding]:
    if os.geteuid() != 0:
        return []
    return [Finding("note", "account", f"we are root, so PostgreSQL runs as {postgres.ACCOUNT!r} of its own")]


def _instance(target: instance.Instance) -> list[Finding]:
    findings = []
    mode = target.secrets_file.stat().st_mode & 0o777 if target.secrets_file.exists() else None
    if mode != 0o600:
        found = "missing" if mode is None else oct(mode)
        findings.append(Finding("bad", "secrets", f"expected {target.secrets_file} with mode 0600, found {found}"))
    settings = load()
    findings.append(Finding("ok", "source", settings.source_id))
    supervisor = Supervisor(target)
    if not supervisor.is_running:
        return [*findings, Finding("note", "programs", "stopped; ./weir up starts them")]
    for name, info in supervisor.states().items():
        is_well = info["statename"] == "RUNNING"
        text = info["description"] if is_well else f"{info['statename']} {info['spawnerr']}; ./weir logs {name}"
        findings.append(Finding("ok" if is_well else "bad", name, text))
    dsn = settings.postgres_dsn("reader")
    answers = postgres.answers(dsn)
    findings.append(Finding("ok" if answers else "bad", "log-in", "reader gets in" if answers else "reader is refused"))
    host, _, port = settings.kafka_bootstrap.split(",")[0].rpartition(":")
    if not ports.is_open(int(port), host):
        findings.append(Finding("bad", "Kafka", f"nothing listens on {host}:{port}; ./weir logs kafka"))
    return [*findings, *_superset(target, settings, supervisor)]


def _superset(target: instance.Instance, settings: Settings, supervisor: Supervisor) -> list[Finding]:
    if "superset" not in supervisor.states():
        return []
    url = superset.Layout(target).url
    if not health.answers(f"{url}/health"):
        return [Finding("bad", "Superset", f"no answer on {url}/health; ./weir logs superset")]
    if settings.superset_anonymous:
        return [
            Finding("note", "Superset", f"whoever reaches {url} reads the dashboards (WIKIWEIR_SUPERSET_ANONYMOUS)")
        ]
    return [Finding("ok", "Superset", "answers, and asks for a log-in")]
