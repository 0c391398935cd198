"""spark-submit application: holds what is published against itself, as readers see it. Once a day; needs no cluster.

    ./weir submit check_published
    ./weir submit check_published --days 8

Every hour is the sum of its minutes, every day that of its hours, and each fact that was counted is one event. The
surprising thing: it starts no Spark session. It is submitted like every job so that it runs where they run.
"""

import argparse
import logging
import sys
import uuid
from contextlib import closing
from datetime import timedelta

from jobs.lib import logs, published
from jobs.lib.application import REFUSED
from jobs.lib.owner import RefusedError, bind_instance
from jobs.lib.postgres import connect
from wikiweir.clock import Clock, SystemClock
from wikiweir.hours import Day, Hour
from wikiweir.settings import Settings, load

log = logging.getLogger("check_published")

ALL_HOLDS, SOMETHING_DIFFERS = 0, 1
NAME = "wikiweir-check-published"


def run(settings: Settings, days: int, run_id: str, *, clock: Clock | None = None) -> int:
    """Look, judge and write down; the exit code."""
    now = (clock or SystemClock()).now()
    wanted = Day.of(now).start - timedelta(days=days)
    since = max(wanted, Hour.of(now - settings.keep.batch_key_minutes).end)
    if since > wanted:
        log.warning("looking no further back than %s: older minutes are not kept", Hour.of(since))
    with (
        closing(connect(settings.postgres_dsn("reader"), NAME)) as reader,
        closing(connect(settings.postgres_dsn("batch"), NAME)) as batch,
    ):
        try:
            with batch.cursor() as cursor:
                bind_instance(cursor, settings.source_id)
                before = published.differing_before(cursor)
        except RefusedError as refusal:
            log.error("%s", refusal)
            return REFUSED
        if published.check(batch, published.look(reader, since, before), run_id):
            return ALL_HOLDS
        log.error("docs/runbooks/%s.md says what to do", published.INCIDENT)
        return SOMETHING_DIFFERS


def main(words: list[str]) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="check_published", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=2, help="full days before today; 2 if not given")
    parser.add_argument("--run-id", default=f"manual-{uuid.uuid4().hex[:8]}", help="who asks; in ops.quality_results")
    given = parser.parse_args(words)
    logs.configure()
    return run(load(), given.days, given.run_id)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
