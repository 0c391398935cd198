"""What `./weir up` prints when everything is healthy: where things are, log-ins, first numbers."""

import psycopg2
from rich.console import Console
from rich.table import Table

from local import airflow, ports, source, superset
from local.instance import AIRFLOW_PASSWORD, SUPERSET_PASSWORD, Instance
from wikiweir.settings import Settings

FIRST_NUMBERS = """
SELECT wiki, sum(events)::bigint AS events, sum(edits)::bigint AS edits, sum(bytes_added)::bigint AS bytes_added
FROM serving.activity
GROUP BY wiki
ORDER BY events DESC
LIMIT 5
"""

TOTALS = "SELECT sum(events)::bigint, sum(edits)::bigint, count(DISTINCT wiki), max(window_start) FROM serving.activity"


def show(console: Console, instance: Instance, settings: Settings, left_out: frozenset[str]) -> None:
    """Print it. No secret is printed, only where they are."""
    lines = []
    if "superset" not in left_out:
        lines.append(("dashboards", superset.Layout(instance).url))
        lines.append(
            ("  log-in", f"{settings.superset_user}; password: {SUPERSET_PASSWORD} in {instance.secrets_file}")
        )
    lines += [
        ("source", source.describe(settings.source_id)),
        ("PostgreSQL", f"{settings.postgres_host}:{settings.postgres_port}, database {settings.postgres_dbname}"),
        ("  look at it", './weir psql   or   ./weir psql -c "SELECT * FROM serving.recent_changes LIMIT 5"'),
        ("  log-ins", f"wikiweir_reader (read-only) and others; passwords in {instance.secrets_file}"),
        ("Kafka", f"{settings.kafka_bootstrap}, topic {settings.events_topic}"),
        ("lake", settings.lake),
        ("producer", f"http://{ports.LOOPBACK}:{settings.producer_port}/healthz and /metrics"),
        ("stream", f"http://{ports.LOOPBACK}:{settings.stream_port}/healthz and /metrics"),
    ]
    if "airflow" not in left_out:
        lines.append(("Airflow", airflow.Layout(instance).url))
        lines.append(("  log-in", f"{airflow.USER}; password: {AIRFLOW_PASSWORD} in {instance.secrets_file}"))
    if source.needs_replay(settings.source_id):
        lines.append(("replay server", f"{settings.source_url}/v2/stream/recentchange"))
    lines.append(("state and logs", f"{instance.home}; ./weir status, ./weir logs NAME"))
    for name, text in lines:
        console.print(f"{name:<16}{text}", markup=False)
    numbers(console, settings)


def numbers(console: Console, settings: Settings) -> None:
    """The first numbers, read as the reader role from the serving views."""
    connection = psycopg2.connect(settings.postgres_dsn("reader"))
    try:
        with connection.cursor() as cursor:
            cursor.execute(TOTALS)
            events, edits, wikis, newest = cursor.fetchone() or (None, None, 0, None)
            cursor.execute(FIRST_NUMBERS)
            rows = cursor.fetchall()
    finally:
        connection.close()
    if not events:
        console.print("\nNo events in serving.activity yet.")
        return
    console.print(
        f"\n{events:,} events, {edits:,} of them edits, on {wikis} wikis; newest minute {newest:%F %H:%M} UTC"
    )
    table = Table("wiki", "events", "edits", "bytes added", box=None, pad_edge=False)
    for wiki, *values in rows:
        table.add_row(wiki, *(f"{value:,}" for value in values))
    console.print(table)
