"""A stack that holds still, and a viewer who has chosen a time range and perhaps a wiki, and asks every tile of them.

The surprising thing: what is chosen goes through the dashboard's own filters, into the questions that the charts'
files come to, so a filter that does not act, or acts where it should not, shows as a wrong number.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
from kafka.errors import KafkaError

from dashboards import checks, filters
from dashboards.client import Answer, Superset
from dashboards.stories import Filter, Stories, Story
from jobs.lib.publish import PublishedHours, stale_days
from jobs.lib.wikis import language_facts
from local.instance import Instance
from tests.integration import evidence
from tests.integration.airflow_rig import AirflowRig
from tests.integration.parts import wait_for
from tests.integration.source import QUIET_SECONDS, admin, drain_producer
from tests.oracle import questions
from tests.oracle.compare import read_oracle
from tests.oracle.questions import World
from tests.oracle.tile import Tile

STILL_SECONDS = 600
INSTANT = "%Y-%m-%dT%H:%M:%S.%fZ"
EVER = ("", "9999")


@contextmanager
def silent(rig: AirflowRig) -> Iterator[None]:
    """The source says nothing, and all that it said is in Kafka."""
    port = int(Instance(rig.weir.home).values["WIKIWEIR_REPLAY_PORT"])
    try:
        drain_producer(port, rig.kafka_ends, STILL_SECONDS, lambda: rig.weir("status").stdout)
        yield
    finally:
        admin(port, "resume", {})


def wait_still(rig: AirflowRig) -> dict[str, int]:
    """Until both queries have read all there is, the newest minute is over, and every day has its hours; how far.

    Where Kafka still ends there later, nothing came meanwhile.
    """
    ends: dict[str, int] = {}

    def state() -> dict[str, Any]:
        read = rig.query("SELECT end_offsets FROM ops.stream_progress")
        [(newest,)] = rig.query("SELECT max(window_start) FROM serving.activity")
        return {
            "Kafka": rig.kafka_ends(),
            "read": [each for (each,) in read],
            "is over": newest + timedelta(seconds=60 + QUIET_SECONDS) < datetime.now(UTC),
            "days behind": _days_behind(rig),
        }

    def is_still() -> bool:
        nonlocal ends
        try:
            found = state()
        except KafkaError:  # a broker that is starved of time is away for the moment
            return False
        ends = found["Kafka"]
        has_read = all(each == ends for each in found["read"])
        return has_read and found["is over"] and not found["days behind"]

    wait_for(is_still, STILL_SECONDS, state)
    return ends


def _days_behind(rig: AirflowRig) -> list[PublishedHours]:
    with closing(psycopg2.connect(rig.settings.postgres_dsn(rig.role))) as connection:
        return stale_days(connection)


@dataclass(frozen=True, slots=True)
class Told:
    """What a tile said, and what it was asked when."""

    title: str
    answer: Answer
    span: tuple[str, str]
    wiki: str | None
    before: datetime
    after: datetime

    def worlds(self, tables: Mapping[str, list[questions.Row]]) -> tuple[World, World]:
        """The tables as they were seen just before and after."""
        before, after = (World(tables, *self.span, f"{at:{INSTANT}}", self.wiki) for at in (self.before, self.after))
        return before, after


def spans(newest_published: datetime, now: datetime) -> dict[str, tuple[str, str]]:
    """What a viewer may choose in the filter: from when until when."""
    hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    starts = {
        "hours": newest_published,
        "days": newest_published.replace(hour=0) - timedelta(days=1),
        "minutes": now.replace(second=0, microsecond=0) - timedelta(minutes=10),
    }
    return {name: (f"{start:{INSTANT}}", f"{hour:{INSTANT}}") for name, start in starts.items()} | {"ever": EVER}


def ask_all(
    superset: Superset,
    stories: Stories,
    tiles: Mapping[str, Tile],
    chosen: Mapping[str, tuple[str, str]],
    wiki: str | None,
) -> dict[str, Told]:
    """Each tile's answer to whoever has chosen the tile's span and, if one is given, a wiki."""
    number_of = checks.numbers(superset)
    told = {}
    for story in stories.stories:
        for name, chart in story.placed():
            if tile := tiles.get(f"{story.name}/{name}"):
                span = chosen[tile.span]
                extra = filters.defaults(_with(story, span, wiki), name, chart, stories.datasets[chart.dataset])
                acts = "time_range" in extra
                assert acts == (span != EVER), f"{story.name}/{name}: its time filter {'acts' if acts else 'does not'}"
                before = datetime.now(UTC)
                answer = checks.answer_of(superset, story, name, stories, number_of, extra)
                told[f"{story.name}/{name}"] = Told(chart.title, answer, span, wiki, before, datetime.now(UTC))
    return told


def _with(story: Story, span: tuple[str, str], wiki: str | None) -> Story:
    """The story as if its filters began with what is chosen."""

    def chosen(one: Filter) -> Filter:
        if one.time is not None:
            return one.model_copy(update={"time": " : ".join(instant[:19] for instant in span)})
        return one.model_copy(update={"default": (wiki,)}) if wiki and one.column == "wiki" else one

    changed = tuple(chosen(one) for one in story.dashboard.filters)
    return replace(story, dashboard=story.dashboard.model_copy(update={"filters": changed}))


def oracle(rig: AirflowRig, folder: Path) -> dict[str, list[questions.Row]]:
    """Its tables of what is served: late events keep coming, so each published hour is what it was built from."""
    records = evidence.read_topic(rig.settings.kafka_bootstrap, rig.settings.events_topic)
    evidence.run_oracle(rig.settings, records, folder / "live")
    published: dict[str, Path] = {}
    for hour, ends in rig.query("SELECT hour, end_offsets FROM ops.published_hours"):
        built_from = folder / "-".join(f"{offset}" for _, offset in sorted(ends.items()))
        if not built_from.exists():
            held = (record for record in records if record.offset < ends[str(record.partition)])
            evidence.run_oracle(rig.settings, held, built_from)
        published[f"{hour:%Y-%m-%dT%H}"] = built_from
    return questions.read(folder / "live", published, _places(folder / "live"))


def _places(answer: Path) -> dict[str, questions.Row]:
    """Wiki -> its place; the oracle knows project and language, names and territories of languages are CLDR's."""
    places = {}
    for wiki, project, language in read_oracle(answer / "homes.ndjson").rows:
        name, territory = language_facts(language)
        places[wiki] = {"project": project, "language": language, "language_name": name, "territory": territory}
    return places
