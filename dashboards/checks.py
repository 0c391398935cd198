"""Asks every chart for its data, as whoever has just opened its dashboard: what breaks is found, what works is warm.

`python -m dashboards.checks [--run-id ID]` writes rows, seconds and error of each into `ops.dashboard_checks`. Exit
code 1 if a chart is broken, 99 where there is no Superset. The surprising thing: the question is built here and not
read back from Superset, with the filters' defaults in it; only then is the cached answer what the next viewer gets.
"""

import argparse
import logging
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2
import requests
from psycopg2.extensions import connection

from dashboards import bundle, filters, query_context
from dashboards.client import Answer, Superset, SupersetError
from dashboards.stories import Chart, Stories, Story, identity, load
from dashboards.sync import DONE, SKIPPED, WRONG, connected
from wikiweir import settings as config

log = logging.getLogger("dashboards.checks")


@dataclass(frozen=True, slots=True)
class Checked:
    """A chart and what it answered."""

    story: str
    name: str
    title: str
    answer: Answer

    def told(self) -> str:
        """A line for people."""
        where = f"{self.story}/{self.name}"
        if self.answer.error:
            return f"{where}.yaml: {self.title} {self.answer.error}"
        return f"{where:<40} {self.answer.seconds:7.3f} s {self.answer.rows:6} rows"


def numbers(superset: Superset) -> dict[str, int]:
    """uuid -> number, of all charts, datasets and dashboards that stand in Superset."""
    return {thing.uuid: thing.number for kind in ("chart", "dataset", "dashboard") for thing in superset.standing(kind)}


def form_of(story: Story, name: str, chart: Chart, stories: Stories, number_of: Mapping[str, int]) -> dict[str, Any]:
    """The form as the dashboard sends it: what is stored, with the defaults of the filters that act on the chart."""
    dataset = stories.datasets[chart.dataset]
    return bundle.form_of(story, chart, dataset) | {
        "datasource": f"{number_of[identity('dataset', chart.dataset)]}__table",
        "slice_id": number_of[identity("chart", f"{story.name}/{name}")],
        "dashboardId": number_of[identity("dashboard", story.name)],
        "extra_form_data": filters.defaults(story, name, chart, dataset),
    }


def answer_of(
    superset: Superset,
    story: Story,
    name: str,
    stories: Stories,
    number_of: Mapping[str, int],
    extra: Mapping[str, Any] | None = None,
) -> Answer:
    """A chart's answer; `extra`: what the dashboard's filters add to its questions, by default their defaults."""
    needed = {"chart": f"{story.name}/{name}", "dataset": story.charts[name].dataset, "dashboard": story.name}
    if missing := [f"{kind} {of}" for kind, of in needed.items() if identity(kind, of) not in number_of]:
        return Answer(0, 0.0, f"{', '.join(missing)} not in Superset: run dashboards.sync")
    form = form_of(story, name, story.charts[name], stories, number_of)
    if extra is not None:
        form["extra_form_data"] = extra
    context = query_context.build(form, int(form["datasource"].split("__")[0]))
    return superset.ask_legacy(form) if context is None else superset.ask(context)


def asked(superset: Superset, stories: Stories) -> Iterator[Checked]:
    """Every chart's answer, one after the other."""
    number_of = numbers(superset)
    for story in stories.stories:
        for name, chart in story.placed():
            yield Checked(story.name, name, chart.title, answer_of(superset, story, name, stories, number_of))


def written(batch: connection, run_id: str, one: Checked) -> None:
    """Into ops.dashboard_checks; a run that is repeated writes over itself."""
    with batch, batch.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO ops.dashboard_checks AS c (run_id, dashboard, chart, rows, seconds, error, checked_at)
            VALUES (%s, %s, %s, %s, %s, %s, now())
            ON CONFLICT (run_id, dashboard, chart) DO UPDATE SET
                rows = excluded.rows,
                seconds = excluded.seconds,
                error = excluded.error,
                checked_at = excluded.checked_at
            """,
            (run_id, one.story, one.name, one.answer.rows, one.answer.seconds, one.answer.error),
        )


def run(superset: Superset, batch: connection, run_id: str) -> int:
    """Ask, write down and judge; the exit code."""
    broken, seconds = [], []
    for one in asked(superset, load()):
        written(batch, run_id, one)
        seconds.append(one.answer.seconds)
        if one.answer.error:
            broken.append(one)
        else:
            log.info("%s", one.told())
    log.info(
        "%s charts asked in %.1f s, the slowest took %.3f s", len(seconds), sum(seconds), max(seconds, default=0.0)
    )
    if not broken:
        return DONE
    log.error("%s charts are broken:\n  %s", len(broken), "\n  ".join(one.told() for one in broken))
    return WRONG


def main(arguments: list[str]) -> int:
    """Run with the settings of this instance."""
    parser = argparse.ArgumentParser(prog="dashboards.checks", description=__doc__)
    parser.add_argument("--run-id", default=f"manual-{uuid.uuid4().hex[:8]}", help="who asks; in ops.dashboard_checks")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = config.load()
    try:
        superset = connected(settings)
        if superset is None:
            return SKIPPED
        with superset, closing(psycopg2.connect(settings.postgres_dsn("batch"))) as batch:
            return run(superset, batch, given.run_id)
    except (SupersetError, requests.RequestException, psycopg2.Error) as error:
        log.error("%s", error)
        return WRONG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
