"""Every setting: `WIKIWEIR_*` in the environment, then `.env` of the project, then the instance's own files.

The instance's files stand in the state folder (`WIKIWEIR_HOME`, default `.weir`): `instance.env` (chosen ports and
what the instance is bound to) and `secrets.env` (mode 0600). Programs read them themselves, so no secret is ever a
process argument.
"""

import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT = Path(__file__).resolve().parent.parent


def home() -> Path:
    """The state folder of this instance, absolute."""
    return Path(os.environ.get("WIKIWEIR_HOME", PROJECT / ".weir")).resolve()


class Lifetimes(BaseSettings):
    """How long things live. Retention goes by arrival, never by event time.

    The inequalities between the rows are laws under test: a duplicate must be recognisable for longer than
    the source can repeat it, Kafka must outlive what a lost checkpoint needs, and the files of a pinned version the
    job that reads them.
    """

    model_config = SettingsConfigDict(env_prefix="WIKIWEIR_KEEP_", extra="ignore")

    kafka: timedelta = timedelta(days=7)
    kafka_bytes: int = 8 * 1024**3
    """Per partition; what comes first ends the segment's life."""
    seen: timedelta = timedelta(hours=48)
    speed_minutes: timedelta = timedelta(hours=48)
    """After their hour was published and both layers were found to agree."""
    recent_changes: timedelta = timedelta(hours=3)
    bronze: timedelta = timedelta(days=90)
    lake_files: timedelta = timedelta(days=2)
    """Files that no version of a lake table needs any more: how long a job may read a version it has pinned."""
    lake_log: timedelta = timedelta(days=30)
    """Versions of a lake table that its history tells of."""
    batch_minutes: timedelta = timedelta(days=31)
    """By wiki and class: `activity`, `edit_sizes`."""
    batch_key_minutes: timedelta = timedelta(hours=72)
    """By user and by page, where a day has millions of rows."""
    batch_hours: timedelta = timedelta(days=400)
    batch_key_hours: timedelta = timedelta(days=31)
    findings: timedelta = timedelta(days=90)
    """What was found and is over: results of expectations, closed incidents, ends of hours."""
    airflow: timedelta = timedelta(days=30)
    """Runs and logs of tasks."""
    overlap: timedelta = timedelta(seconds=120)
    """How far before its watermark the producer resumes."""


class Settings(BaseSettings):
    """One value of each; read it once at a program's start and hand on what is needed."""

    model_config = SettingsConfigDict(env_prefix="WIKIWEIR_", extra="ignore")

    # what the instance is bound to
    source_id: str = "unset"
    """Names where events come from; data of two sources never mix."""
    source_url: str = "https://stream.wikimedia.org"
    streams: str = "recentchange"
    """Comma-separated stream names, one connection."""
    since: str | None = None
    """Where a first start begins: epoch milliseconds or ISO 8601; none is now."""
    contact: str | None = None
    """URL or e-mail for the User-Agent; Wikimedia's policy demands it of live clients."""
    read_timeout_seconds: float = 30.0

    # Kafka
    kafka_bootstrap: str = "127.0.0.1:9092"
    kafka_partitions: int = 2
    """Partitions of the events topic: one a core of the embedded stack. Changing it means a new topic."""
    kafka_replication: int = 1
    events_topic: str = "wikiweir.recentchange"
    dead_letters_topic: str = "wikiweir.dead-letters"
    cursors_topic: str = "wikiweir.cursors"
    max_event_bytes: int = 10 * 1024**2
    max_in_flight: int = 20_000
    """Records handed to Kafka and not yet acknowledged; at the bound the source is no longer read."""

    # PostgreSQL
    postgres_host: str = "127.0.0.1"
    postgres_port: int = 5432
    postgres_dbname: str = "wikiweir"
    postgres_admin_dsn: SecretStr | None = None
    """A superuser's DSN, for creating roles and the database; none: the embedded server's."""
    postgres_owner_password: SecretStr = SecretStr("")
    postgres_stream_password: SecretStr = SecretStr("")
    postgres_batch_password: SecretStr = SecretStr("")
    postgres_reader_password: SecretStr = SecretStr("")

    # Spark and the lake
    spark_master: str = "local[2]"
    spark_driver_memory: str = "1g"
    java_home: str | None = None
    lake: str = Field(default_factory=lambda: (home() / "lake").as_uri())
    checkpoints: str = Field(default_factory=lambda: (home() / "checkpoints").as_uri())
    speed_trigger_seconds: float = 1.0
    lake_trigger_seconds: float = 60.0
    speed_max_events: int = 100_000
    """Upper bound of one micro-batch."""
    lake_max_events: int = 500_000
    hour_grace: timedelta = timedelta(seconds=90)
    """How far the producer must have read past the end of an hour before the hour is built; what comes still later
    brings the hour back to be built again."""

    # privacy
    user_key_secret: SecretStr = SecretStr("")
    """Key of the HMAC that stands for a user's true name."""
    mask_addresses: bool = True
    """Cut IP addresses to their network before any serving table."""

    # where the long-running programs answer /healthz and /metrics
    producer_port: int = 9101
    stream_port: int = 9102
    replay_port: int = 8090

    # Superset
    superset_url: str | None = None
    """Where the dashboards are brought to; none: to no Superset. The embedded stack sets its own."""
    superset_user: str = "admin"
    superset_password: SecretStr = SecretStr("")
    superset_anonymous: bool = False
    """Whether the dashboards can be read without a log-in."""
    redis_url: SecretStr | None = None
    """A Redis for Superset's caches; none: files in the state folder."""

    keep: Lifetimes = Field(default_factory=Lifetimes)

    def postgres_dsn(self, role: str) -> str:
        """libpq URL of a role: owner, stream, batch or reader."""
        password = getattr(self, f"postgres_{role}_password").get_secret_value()
        return (
            f"postgresql://wikiweir_{role}:{quote(password, safe='')}"
            f"@{self.postgres_host}:{self.postgres_port}/{self.postgres_dbname}"
        )


def load() -> Settings:
    """Settings of this instance; files later in the list win over earlier ones, the environment over all."""
    state = home()
    files = (state / "instance.env", state / "secrets.env", PROJECT / ".env")
    read = {"_env_file": files, "_env_file_encoding": "utf-8"}
    return Settings(keep=Lifetimes(**read), **read)  # type: ignore[arg-type]
