"""What Airflow keeps of its own past, cut to a lifetime: rows of its metadata database, and logs of tasks.

The surprising thing: a task has no access to the metadata database, and a process it starts inherits the address that
says so. Without that variable Airflow's own command line finds the real one in `airflow.cfg`, where we keep it.
"""

import logging
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk.configuration import conf

log = logging.getLogger(__name__)

CLOSED = ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__SQL_ALCHEMY_CONN")


def clean_metadata(keep: timedelta, *, is_dry: bool) -> None:
    """Delete what is older from every table of the metadata database, as `airflow db clean` does."""
    before = (datetime.now(UTC) - keep).isoformat(timespec="seconds")
    command = [sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive", "--error-on-cleanup-failure"]
    command += ["--clean-before-timestamp", before, *(["--dry-run"] if is_dry else [])]
    env = {name: value for name, value in os.environ.items() if name not in CLOSED}
    done = SubprocessHook().run_command(command, env=env)
    if done.exit_code:
        raise RuntimeError(f"airflow db clean ended with {done.exit_code}: {done.output}")


def clean_logs(keep: timedelta, *, is_dry: bool) -> None:
    """Delete files of the local log folder that nothing was written to for so long, and folders that are left empty."""
    folder, cutoff = Path(conf.get("logging", "base_log_folder")), (datetime.now(UTC) - keep).timestamp()
    # looked at before anything is deleted from them, because that makes a folder young
    old = [path for path in folder.rglob("*") if path.lstat().st_mtime < cutoff]
    files = [path for path in old if path.is_symlink() or path.is_file()]
    log.info("%s: %s files are older than %s%s", folder, len(files), keep, "" if not is_dry else ", and stay")
    if is_dry:
        return
    for path in files:
        path.unlink(missing_ok=True)
    for path in sorted(set(old) - set(files), reverse=True):
        with suppress(OSError):  # something younger is in it
            path.rmdir()
