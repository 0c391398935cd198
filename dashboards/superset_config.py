"""Superset's configuration: who may do what, how long answers are kept, how it looks.

Read by Superset's own environment, from the file, before there is anything of Superset to import; what differs between
instances comes in environment variables that local/superset.py sets. The surprising thing: pages may load from this
Superset and from nowhere else; that is also what keeps the browser from telling the maker's counter of each visit.
"""

import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from dashboards import theme

# ---- where its records are, and its key

SECRET_KEY = os.environ["WIKIWEIR_SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = os.environ["WIKIWEIR_SUPERSET_DATABASE_URI"]
SQLALCHEMY_ENGINE_OPTIONS = {"pool_pre_ping": True, "pool_size": 8}
GUEST_TOKEN_JWT_SECRET = GLOBAL_ASYNC_QUERIES_JWT_SECRET = hashlib.sha256(f"tokens {SECRET_KEY}".encode()).hexdigest()
"""For features that are off; what they come with is known to everybody."""

SESSION_COOKIE_NAME = f"wikiweir_{hashlib.sha256(SECRET_KEY.encode()).hexdigest()[:8]}"
"""A browser keeps cookies by host, not by port: two instances, or Airflow, would log each other out."""
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True

# ---- who may do what

IS_ANONYMOUS = os.environ.get("WIKIWEIR_SUPERSET_ANONYMOUS") == "true"

AUTH_ROLE_PUBLIC = "Public"
PUBLIC_ROLE_LIKE = "Public" if IS_ANONYMOUS else None
"""Superset's smallest role: it sees the dashboards that name it, and nothing else."""

FEATURE_FLAGS = {
    # a dashboard is for the roles that it names
    "DASHBOARD_RBAC": True,
    # datasets that need the look back inside a sub-select. In a sandbox, which whoever asks a chart's question reaches
    "ENABLE_TEMPLATE_PROCESSING": True,
    "ALERT_REPORTS": False,
    "THUMBNAILS": False,
    "EMBEDDED_SUPERSET": False,
    "ENABLE_JAVASCRIPT_CONTROLS": False,
    "SSH_TUNNELING": False,
    "SLACK_ENABLE_AVATARS": False,
}

WTF_CSRF_ENABLED = True
ENABLE_CORS = False
FAB_API_SWAGGER_UI = False
RATELIMIT_ENABLED = True
RATELIMIT_STORAGE_URI = "memory://"
RATELIMIT_APPLICATION = None
"""By address, and behind a tunnel all viewers have the same one; log-ins are limited nevertheless."""
AUTH_RATE_LIMITED = True
AUTH_RATE_LIMIT = "5 per second"

TALISMAN_ENABLED = True
TALISMAN_CONFIG = {
    "content_security_policy": {
        "default-src": ["'self'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'self'"],
        "object-src": ["'none'"],
        "connect-src": ["'self'"],
        "font-src": ["'self'", "data:"],
        "img-src": ["'self'", "blob:", "data:"],
        "script-src": ["'self'", "'strict-dynamic'"],
        # its components write style elements as they are drawn
        "style-src": ["'self'", "'unsafe-inline'"],
        "worker-src": ["'self'", "blob:"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "frame_options": "SAMEORIGIN",
    "referrer_policy": "same-origin",
    # it listens on loopback; whoever puts https before it sets these there
    "force_https": False,
    "session_cookie_secure": False,
}
THEME_FONT_URL_ALLOWED_DOMAINS: list[str] = []
DATASET_IMPORT_ALLOWED_DATA_URLS: list[str] = []
MAPBOX_API_KEY = ""

# ---- how long answers are kept

ROWS_SECONDS = 4
"""Of charts that do not say it themselves. An answer is given twice as long, which is less than the refresh of ten
seconds, so that each brings new numbers, and viewers side by side share an answer."""


def cache(prefix: str, kept: timedelta) -> dict[str, Any]:
    """A cache in files, or in Redis where there is one."""
    common = {"CACHE_DEFAULT_TIMEOUT": int(kept.total_seconds()), "CACHE_KEY_PREFIX": f"wikiweir_{prefix}_"}
    if redis := os.environ.get("WIKIWEIR_REDIS_URL"):
        return {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": redis, **common}
    folder = Path(os.environ["WIKIWEIR_SUPERSET_CACHE"]) / prefix
    return {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(folder), "CACHE_THRESHOLD": 2000, **common}


CACHE_CONFIG = cache("metadata", timedelta(hours=1))
DATA_CACHE_CONFIG = cache("data", timedelta(seconds=ROWS_SECONDS))
# what people have set in filters and charts stays in the metadata database

DASHBOARD_AUTO_REFRESH_MODE = "fetch"
"""The default, "force", asks PostgreSQL anew for each viewer."""
DASHBOARD_AUTO_REFRESH_INTERVALS = [
    [0, "Don't refresh"],
    [10, "10 seconds"],
    [30, "30 seconds"],
    [60, "1 minute"],
    [300, "5 minutes"],
    [1800, "30 minutes"],
    [3600, "1 hour"],
]

# ---- what is asked for, and how much

DEFAULT_RELATIVE_START_TIME = DEFAULT_RELATIVE_END_TIME = "now"
"""With the default, "today", the last 60 minutes are those before midnight."""

ROW_LIMIT = 10_000
SAMPLES_ROW_LIMIT = 1_000
NATIVE_FILTER_DEFAULT_ROW_LIMIT = 1_000
FILTER_SELECT_ROW_LIMIT = 10_000
SQL_MAX_ROW = 50_000
DISPLAY_MAX_ROW = 10_000
DEFAULT_SQLLAB_LIMIT = 1_000
SQLLAB_TIMEOUT = 30
SUPERSET_WEBSERVER_TIMEOUT = 60
"""The reader role's statements end after 30 seconds."""

# ---- how it looks

APP_NAME = theme.NAME
LOGO_TARGET_PATH = theme.HOME
FAVICONS = [{"href": theme.ICON, "type": "image/svg+xml"}]
BABEL_DEFAULT_LOCALE = "en"
WELCOME_PAGE_LAST_TAB = "all"
EXTRA_CATEGORICAL_COLOR_SCHEMES = [theme.COLOUR_SCHEME]
THEME_DEFAULT = theme.LIGHT
THEME_DARK = theme.DARK

# ---- what it does otherwise


def adapt(app: Any) -> None:
    """When there is an application."""
    # they import what cannot be before it has read this file
    from dashboards import action_log
    from dashboards.shared_answers import SharedAnswers

    action_log.keep_none(app)
    action_log.hear_of_none(app)
    SharedAnswers(app)


FLASK_APP_MUTATOR = adapt
