"""Parsed records -> what each one counts as: outcome, dimensions and the columns that rollups and tables name.

A pure function of the record, Spark SQL only, every rule from `definitions.toml`. The surprising thing: it neither
drops rows nor knows of duplicates; the caller judges those (no id, duplicate, below the floor, canary, too long, fact).
"""

import hashlib
from collections.abc import Iterable
from functools import cache

from pyspark.sql import DataFrame

from jobs.lib import sql
from wikiweir.definitions import LANGUAGE_NONE, definitions

NO_META_ID = "no_meta_id"
HIDDEN_USER_KEY = "00000000000000000000000000000000"

SHA256_BLOCK_BYTES = 64

CARRIED = (
    "partition",
    "offset",
    "event_id",
    "key_hour",
    "event_time",
    "time_source",
    "event_hour",
    "is_canary",
)
"""Columns of `parse` handed on as they are; `kafka_time` is, too, and is also `received_at`."""

CLASSIFIED = (
    *CARRIED,
    "kafka_time",
    "received_at",
    "outcome",
    "reason",
    "wiki",
    "server_name",
    "type",
    "namespace",
    "title",
    "user_key",
    "user_name",
    "user_class",
    "is_edit",
    "is_new_page",
    "is_minor",
    "is_unpatrolled",
    "is_revert",
    "severity",
    "bytes_changed",
    "bytes_added",
    "bytes_removed",
    "size_bucket",
    "old_revision",
    "new_revision",
    "log_type",
    "log_action",
)


def _is_address(name: str) -> str:
    """Whether a name is an IP address. The patterns are only tried where a character says that it may be one."""
    rules = definitions()["user_class"]
    return f"""coalesce(CASE
        WHEN contains({name}, ':') THEN {sql.matches(name, rules["ipv6"])}
        WHEN ascii({name}) BETWEEN 48 AND 57 THEN {sql.matches(name, rules["ipv4"])}
    END, FALSE)"""


def _network(address: str) -> str:
    """The network an IP address is shown as: /24, or the first three of eight groups as /48."""
    before, after = f"split_part({address}, '::', 1)", f"split_part({address}, '::', 2)"
    left, right = (f"filter(split({part}, ':'), g -> g <> '')" for part in (before, after))
    zeros = f"array_repeat('0', 8 - size({left}) - size({right}))"
    groups = f"slice(concat({left}, {zeros}, {right}), 1, 3)"
    return f"""IF(contains({address}, ':'),
        concat(array_join(transform({groups}, g -> conv(g, 16, 16)), ':'), '::/48'),
        concat(substring_index({address}, '.', 3), '.0/24'))"""


def _user_key(name: str, secret: bytes) -> str:
    """The first 128 bits of HMAC-SHA256 (RFC 2104) of a name, as hexadecimal digits."""
    key = hashlib.sha256(secret).digest() if len(secret) > SHA256_BLOCK_BYTES else secret
    block = key.ljust(SHA256_BLOCK_BYTES, b"\0")
    inner, outer = (sql.binary(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))
    digest = f"sha2(concat({inner}, CAST({name} AS BINARY)), 256)"
    return f"left(sha2(concat({outer}, unhex({digest})), 256), 32)"


def _size_bucket(size: str) -> str:
    """Sign and decade of a number of bytes."""
    decades = sorted(definitions()["size_bucket"]["decades"], reverse=True)
    label = " ".join(f"WHEN abs({size}) >= {bound} THEN {sql.text(name)}" for bound, name in decades)
    missing = sql.text(definitions()["missing"]["size_bucket"])
    return f"""CASE
        WHEN {size} IS NULL THEN {missing}
        WHEN {size} = 0 THEN '0'
        ELSE concat(IF({size} > 0, '+', '-'), CASE {label} END)
    END"""


def _language(server_name: str) -> str:
    """The language of a server name, as `wikiweir.definitions.site` has it."""
    rules = definitions()["sites"]
    first, domain = f"substring_index({server_name}, '.', 1)", f"substring_index({server_name}, '.', -2)"
    domains = sql.texts(f"{project}.org" for project in rules["language_projects"])
    return f"""IF({domain} IN ({domains}) AND {server_name} <> {domain}
        AND {first} NOT IN ({sql.texts(rules["no_language"])}), {first}, {sql.text(LANGUAGE_NONE)})"""


def _is_revert(summary: str, server_name: str) -> str:
    """Whether a summary begins with one of the literals of its wiki's language."""
    prefixes: dict[str, list[str]] = definitions()["reverts"]["prefixes"]
    # Two characters rule out nearly every summary before the language is asked for.
    heads = sorted({prefix[:2] for literals in prefixes.values() for prefix in literals})
    by_language = ", ".join(f"{sql.text(k)}, array({sql.texts(v)})" for k, v in prefixes.items())
    literals = f"""coalesce(try_element_at(map({by_language}), {_language(server_name)}),
        array({sql.texts(prefixes[LANGUAGE_NONE])}))"""
    return f"""CASE WHEN substring({summary}, 1, 2) IN ({sql.texts(heads)})
        THEN exists({literals}, p -> startswith({summary}, p)) ELSE FALSE END"""


@cache
def _steps(user_key_secret: bytes, mask_addresses: bool) -> tuple[tuple[str, ...], ...]:
    rules = definitions()
    missing, limit = rules["missing"], rules["text"]["max_bytes"]
    length_limit = missing["length_limit"]
    hidden = sql.text(missing["user_name"])
    in_masked_namespace = f"namespace IN ({', '.join(map(str, rules['masking']['title_namespaces']))})"
    masked = str(mask_addresses).upper()
    too_long = " ".join(
        f"WHEN octet_length({column}) > {limit} THEN '{column}_too_long'"
        for column in ("title", "user", "wiki", "type")
    )
    return (
        (
            "*",
            f"CASE WHEN event_id IS NULL THEN '{NO_META_ID}' WHEN is_canary THEN '' {too_long} ELSE '' END AS reason",
            f"coalesce(type IN ({sql.texts(rules['type']['edits'])}), FALSE) AS is_edit",
            f"{_is_address('user')} AS is_address",
            f"IF({masked} AND {in_masked_namespace} AND contains(title, ':'), locate(':', title), NULL) AS colon_at",
            f"IF(old_length BETWEEN 1 - {length_limit} AND {length_limit} - 1, old_length, NULL) AS old_bytes",
            f"IF(new_length BETWEEN 1 - {length_limit} AND {length_limit} - 1, new_length, NULL) AS new_bytes",
        ),
        (
            "*",
            "IF(colon_at IS NULL, NULL, substring_index(substring(title, colon_at + 1), '/', 1)) AS page_root",
            "IF(is_edit, new_bytes - coalesce(old_bytes, 0), NULL) AS bytes_changed",
        ),
        (
            *CARRIED,
            "kafka_time",
            "kafka_time AS received_at",
            "CASE WHEN reason <> '' THEN 'rejected' WHEN is_canary THEN 'canary' ELSE 'fact' END AS outcome",
            "reason",
            f"coalesce(wiki, {sql.text(missing['wiki'])}) AS wiki",
            "server_name",
            f"coalesce(type, {sql.text(missing['type'])}) AS type",
            f"coalesce(namespace, {missing['namespace']}) AS namespace",
            f"""CASE
                WHEN {_is_address("page_root")} THEN concat(
                    left(title, colon_at), {_network("page_root")}, substring(title, colon_at + 1 + length(page_root)))
                ELSE coalesce(title, {sql.text(missing["title"])})
            END AS title""",
            f"IF(user IS NULL, '{HIDDEN_USER_KEY}', {_user_key('user', user_key_secret)}) AS user_key",
            f"IF(is_address AND {masked}, {_network('user')}, coalesce(user, {hidden})) AS user_name",
            f"""CASE
                WHEN user IS NULL THEN 'hidden'
                WHEN bot THEN 'bot'
                WHEN startswith(user, '~') AND {sql.matches("user", rules["user_class"]["temporary"])} THEN 'temporary'
                WHEN is_address THEN 'anonymous'
                ELSE 'registered'
            END AS user_class""",
            "is_edit",
            f"coalesce(type IN ({sql.texts(rules['type']['new_pages'])}), FALSE) AS is_new_page",
            "is_edit AND coalesce(minor, FALSE) AS is_minor",
            "is_edit AND coalesce(NOT patrolled, FALSE) AS is_unpatrolled",
            f"is_edit AND {_is_revert('summary_start', 'server_name')} AS is_revert",
            "IF(is_edit, IF(minor, 'minor', 'major'), NULL) AS severity",
            "bytes_changed",
            "greatest(coalesce(bytes_changed, 0), 0) AS bytes_added",
            "greatest(-coalesce(bytes_changed, 0), 0) AS bytes_removed",
            f"{_size_bucket('bytes_changed')} AS size_bucket",
            "old_revision",
            "new_revision",
            "log_type",
            "log_action",
        ),
    )


def classify(parsed: DataFrame, *, user_key_secret: bytes, mask_addresses: bool, also: Iterable[str] = ()) -> DataFrame:
    """Add outcome, reason and everything that rollups and `recent_changes` name; columns are `CLASSIFIED` and `also`.

    `user_key_secret` keys the HMAC that stands for a user's true name; `mask_addresses` shows IP addresses as networks.
    """
    *steps, last = _steps(user_key_secret, mask_addresses)
    for step in steps:
        parsed = parsed.selectExpr(*step)
    return parsed.selectExpr(*last, *also)
