"""Brings the dashboards into Superset: validate, import what changed, take away what is no longer ours, set roles.

`python -m dashboards.sync`; exit code 99 where there is no Superset to bring them to, 1 if anything is wrong, and then
nothing was imported. The surprising thing: it also imports when only Superset has changed. What somebody has altered
there by hand, or deleted, is put back; what others put there is left alone: ours is what we have imported.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass

import psycopg2
import requests
from psycopg2.extensions import connection

from dashboards import bundle, validate
from dashboards.client import KINDS, Standing, Superset, SupersetError
from dashboards.notice import notice
from dashboards.stories import Stories, load
from wikiweir import settings as config
from wikiweir.settings import Settings

log = logging.getLogger("dashboards.sync")

DONE, WRONG, SKIPPED = 0, 1, 99
ROLE = "Wikiweir"
"""Whoever has it beside Gamma sees the dashboards."""
PUBLIC = "Public"


@dataclass(frozen=True, slots=True)
class Record:
    """What was last imported: of which files, and what stood in Superset after it."""

    digest: str
    fingerprint: str
    uuids: frozenset[str]


def ours(superset: Superset, uuids: Collection[str]) -> list[Standing]:
    """What stands in Superset of the things with these uuids."""
    return [thing for kind in KINDS for thing in superset.standing(kind) if thing.uuid in uuids]


def fingerprint(things: list[Standing]) -> str:
    """Hash of what is there and when it was last changed."""
    told = sorted((thing.kind, thing.uuid, thing.changed) for thing in things)
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def recorded(batch: connection) -> Record | None:
    """What ops.dashboard_import remembers."""
    with batch, batch.cursor() as cursor:
        cursor.execute("SELECT i.digest, i.fingerprint, i.uuids::text[] FROM ops.dashboard_import AS i")
        row = cursor.fetchone()
    return Record(row[0], row[1], frozenset(row[2])) if row else None


def record(batch: connection, now: Record) -> None:
    """Remember it."""
    with batch, batch.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO ops.dashboard_import AS i (digest, fingerprint, uuids, imported_at)
            VALUES (%s, %s, %s::uuid[], now())
            ON CONFLICT (only_row) DO UPDATE SET
                digest = excluded.digest,
                fingerprint = excluded.fingerprint,
                uuids = excluded.uuids,
                imported_at = excluded.imported_at
            """,
            (now.digest, now.fingerprint, sorted(now.uuids)),
        )


def alone(batch: connection) -> None:
    """Wait until nobody else imports; over with the connection."""
    with batch, batch.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('wikiweir dashboards'))")


def source_of(batch: connection) -> str:
    """The source the database is bound to."""
    with batch, batch.cursor() as cursor:
        cursor.execute("SELECT i.source_id FROM ops.instance AS i")
        row = cursor.fetchone()
    return str(row[0]) if row else "unset"


def checked(settings: Settings) -> Stories | None:
    """The stories, if they agree among themselves and with the tables; else everything that does not is logged."""
    stories = load()
    told = validate.check(stories)
    if not told:
        with closing(psycopg2.connect(settings.postgres_dsn("reader"))) as reader, reader, reader.cursor() as cursor:
            told = validate.check_database(stories, cursor)
    if told:
        log.error("%s discrepancies, nothing was imported:\n  %s", len(told), "\n  ".join(told))
        return None
    log.info("%s dashboards agree with their datasets and the tables", len(stories.stories))
    return stories


def _import(superset: Superset, files: bundle.Files, password: str, no_longer: Collection[str]) -> None:
    packed = bundle.zipped(files)
    superset.import_assets(packed, {bundle.DATABASE_FILE: password})
    gone = ours(superset, no_longer)
    for thing in gone:
        superset.delete(thing)
    log.info("imported %s files, %s KB; taken away: %s", len(files), len(packed) // 1024, len(gone) or "nothing")


def set_roles(superset: Superset, dashboards: Collection[int], is_anonymous: bool) -> None:
    """The role of people reads every dataset; who is not logged in sees the dashboards only, and only where wanted."""
    people, public = superset.ensure_role(ROLE), superset.ensure_role(PUBLIC)
    access = superset.access_to_database(bundle.DATABASE)
    if access not in (has := superset.permissions(people)):
        superset.set_permissions(people, has | {access})
        log.info("role %s may read the numbers", ROLE)
    if access in (has := superset.permissions(public)):
        superset.set_permissions(public, has - {access})
        log.warning("role %s could read the numbers without a dashboard, and no longer can", PUBLIC)
    wants = {people, public} if is_anonymous else set()
    named = superset.viewers()
    for dashboard in dashboards:
        if named.get(dashboard) != wants:
            superset.set_viewers(dashboard, wants)
            log.info("dashboard %s: %s", dashboard, "open to everybody" if is_anonymous else "for people who log in")


def run(settings: Settings, superset: Superset) -> int:
    """Everything, once; the exit code."""
    stories = checked(settings)
    if stories is None:
        return WRONG
    password = settings.postgres_reader_password.get_secret_value()
    address = f"{settings.postgres_host}:{settings.postgres_port}/{settings.postgres_dbname}"
    with closing(psycopg2.connect(settings.postgres_dsn("batch"))) as batch:
        alone(batch)
        files = bundle.files(stories, address, notice(source_of(batch)))
        uuids = frozenset(content["uuid"] for content in files.values() if "uuid" in content)
        digest, before = bundle.digest(files, [password, settings.superset_anonymous]), recorded(batch)
        there = ours(superset, uuids)
        is_same = before == Record(digest, fingerprint(there), uuids)
        if is_same:
            log.info("nothing to import: neither the files nor Superset have changed")
        else:
            log.info("importing, because %s", _reason(before, digest))
            _import(superset, files, password, before.uuids - uuids if before else ())
            there = ours(superset, uuids)
        set_roles(superset, [thing.number for thing in there if thing.kind == "dashboard"], settings.superset_anonymous)
        if not is_same:
            record(batch, Record(digest, fingerprint(ours(superset, uuids)), uuids))
    return DONE


def _reason(before: Record | None, digest: str) -> str:
    if before is None:
        return "nothing has been yet"
    return "the files have changed" if before.digest != digest else "something was changed in Superset by hand"


def connected(settings: Settings) -> Superset | None:
    """A session with the Superset of the settings; none if they name none."""
    if settings.superset_url is None:
        log.info("skipped: WIKIWEIR_SUPERSET_URL names no Superset")
        return None
    return Superset(settings.superset_url, settings.superset_user, settings.superset_password.get_secret_value())


def main() -> int:
    """Run with the settings of this instance."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = config.load()
    try:
        superset = connected(settings)
        if superset is None:
            return SKIPPED
        with superset:
            return run(settings, superset)
    except (SupersetError, requests.RequestException, psycopg2.Error) as error:
        log.error("%s", error)
        return WRONG


if __name__ == "__main__":
    sys.exit(main())
