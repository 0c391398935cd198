"""How to log in with psql: the command without the password, and the password in its environment."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from local import toolchain
from local.instance import InstanceError
from wikiweir.settings import Settings

ROLES = ("reader", "stream", "batch", "owner", "admin")


def command(settings: Settings, role: str) -> tuple[list[str | Path], dict[str, str]]:
    """Command and environment for one of `ROLES`."""
    if role not in ROLES:
        raise InstanceError(f"expected a role out of {', '.join(ROLES)}, found {role!r}")
    if role == "admin":
        dsn = settings.postgres_admin_dsn.get_secret_value() if settings.postgres_admin_dsn else ""
    else:
        dsn = settings.postgres_dsn(role)
    parts = urlsplit(dsn)
    address = ["-h", parts.hostname or "127.0.0.1", "-p", str(parts.port or 5432), "-U", unquote(parts.username or "")]
    database = settings.postgres_dbname
    psql = toolchain.postgres_binaries() / "psql"
    return [psql, *address, "-d", database], {"PGPASSWORD": unquote(parts.password or "")}
