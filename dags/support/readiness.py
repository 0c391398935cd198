"""`WaitForHour`: a task that is deferred until an hour can be built.

What "ready" means stands in PostgreSQL (`ops.hour_waits_for`), and nothing else is asked. The surprising thing: while
it waits it holds no worker and no slot of the Spark pool; one triggerer asks for all.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import BaseOperator, Context
from airflow.triggers.base import BaseTrigger, TriggerEvent

from wikiweir.hours import Hour

log = logging.getLogger(__name__)

CONNECTION = "wikiweir_postgres"
POLL = timedelta(seconds=5)


def waits_for(hour: str) -> str | None:
    """What an hour (`2026-11-23T09`) still waits for; None when it is ready."""
    hook = PostgresHook(postgres_conn_id=CONNECTION, log_sql=False)
    return hook.get_first("SELECT ops.hour_waits_for(%s)", (Hour.parse(hour).start,))[0]


class HourReady(BaseTrigger):
    """Fires when the hour is ready."""

    def __init__(self, hour: str) -> None:
        super().__init__()
        self.hour = hour

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "dags.support.readiness.HourReady", {"hour": self.hour}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        told = None
        while reason := await asyncio.to_thread(waits_for, self.hour):
            if reason != told:
                log.info("hour %s waits: %s", self.hour, reason)
                told = reason
            await asyncio.sleep(POLL.total_seconds())
        yield TriggerEvent(self.hour)


class WaitForHour(BaseOperator):
    """Settles which hour a run is about, waits until it is ready, and returns it, e.g. `2026-11-23T09`.

    `hour` wins when it says one; else it is the run's data interval; else (triggered by hand) the last full hour.
    """

    template_fields: Sequence[str] = ("hour",)

    def __init__(self, *, hour: str = "", **more: Any) -> None:
        super().__init__(**more)
        self.hour = hour

    def execute(self, context: Context) -> str:
        hour = self.hour or _hour_of(context)
        reason = waits_for(hour)
        if reason is not None:
            self.log.info("hour %s waits: %s", hour, reason)
            self.defer(trigger=HourReady(hour), method_name="ready")
        return self.ready(context, hour)

    def ready(self, context: Context, event: str) -> str:
        """The trigger has fired."""
        self.log.info("hour %s is ready: producer, speed query and lake query are past its end", event)
        return event


def _hour_of(context: Context) -> str:
    start = context.get("data_interval_start")
    if start is None or context.get("data_interval_end") == start:
        start = datetime.now(UTC) - timedelta(hours=1)
    return str(Hour.of(start))
