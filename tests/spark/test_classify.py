"""Every worked example of definitions.toml through the expressions that both layers use."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.lib.classify import classify
from jobs.lib.parse import SUMMARY_CHARACTERS, parse
from tests.spark.records import kafka_frame
from wikiweir.definitions import definitions, site

EXAMPLES = definitions()["examples"]
SECRET = b"invented"
FIRST_LABEL = {"none": "www"}


def event(number: int, **fields: Any) -> bytes:
    """A plain edit with these fields."""
    plain = {
        "meta": {"id": f"00000000-0000-4000-8000-{number:012d}", "dt": "2026-11-18T10:00:00Z"},
        "type": "edit",
        "wiki": "enwiki",
        "server_name": "en.wikipedia.org",
    }
    return json.dumps({**plain, **fields}).encode()


def classified(spark: SparkSession, lines: list[bytes], mask_addresses: bool = True) -> list[dict[str, Any]]:
    frame = classify(parse(kafka_frame(spark, lines)), user_key_secret=SECRET, mask_addresses=mask_addresses)
    return [row.asDict() for row in frame.orderBy("offset").collect()]


def test_user_classes_and_names(spark: SparkSession) -> None:
    examples = EXAMPLES["user_class"]
    lines = [event(n, **{k: e[k] for k in ("user", "bot") if k in e}) for n, e in enumerate(examples)]
    for example, row in zip(examples, classified(spark, lines), strict=True):
        assert row["user_class"] == example["class"], example
        if "shown" in example:
            assert row["user_name"] == example["shown"], example


def test_unmasked_when_the_operator_says_so(spark: SparkSession) -> None:
    lines = [event(0, user="192.0.2.77", title="User talk:192.0.2.77", namespace=3)]
    [row] = classified(spark, lines, mask_addresses=False)
    assert (row["user_name"], row["title"]) == ("192.0.2.77", "User talk:192.0.2.77")


def test_the_user_key_is_the_hmac_of_the_true_name(spark: SparkSession) -> None:
    """Masking never merges two people: two addresses of one network keep their own keys."""
    names = ["192.0.2.7", "192.0.2.8", "Жаворонок"]
    for name, row in zip(names, classified(spark, [event(n, user=u) for n, u in enumerate(names)]), strict=True):
        assert row["user_key"] == hmac.new(SECRET, name.encode(), hashlib.sha256).hexdigest()[:32]


def test_titles(spark: SparkSession) -> None:
    examples = EXAMPLES["title"]
    lines = [event(n, title=e["title"], namespace=e["namespace"]) for n, e in enumerate(examples)]
    for example, row in zip(examples, classified(spark, lines), strict=True):
        assert row["title"] == example["shown"], example


def test_sizes(spark: SparkSession) -> None:
    examples = EXAMPLES["size"]
    lines = [event(n, length={k: e[k] for k in ("old", "new") if k in e}) for n, e in enumerate(examples)]
    for example, row in zip(examples, classified(spark, lines), strict=True):
        assert row["bytes_changed"] == example.get("bytes"), example
        assert row["size_bucket"] == example["bucket"], example


def test_reverts(spark: SparkSession) -> None:
    examples = EXAMPLES["revert"]
    servers = ["www.wikidata.org" if e["language"] == "none" else f"{e['language']}.wikipedia.org" for e in examples]
    lines = [
        event(n, comment=e["comment"], server_name=server)
        for n, (e, server) in enumerate(zip(examples, servers, strict=True))
    ]
    for example, row in zip(examples, classified(spark, lines), strict=True):
        assert row["is_revert"] == example["revert"], example


def test_enough_of_the_summary_is_kept_to_tell_a_revert() -> None:
    prefixes = [p for literals in definitions()["reverts"]["prefixes"].values() for p in literals]
    assert max(map(len, prefixes)) <= SUMMARY_CHARACTERS
    assert min(map(len, prefixes)) >= 2, "two characters rule out the others"


@pytest.mark.parametrize("server_name", ["en.wikipedia.org", "test.wikipedia.org", "wikipedia.org", "www.wikidata.org"])
def test_a_categorize_event_is_never_an_edit(spark: SparkSession, server_name: str) -> None:
    """It repeats an edit that is in the stream too: an event, but no edit, no bytes, no revert."""
    [row] = classified(spark, [event(0, type="categorize", comment="Undid revision 1", server_name=server_name)])
    assert site(server_name)[0] != "unknown" or server_name == "wikipedia.org"
    assert (row["is_edit"], row["is_revert"], row["bytes_changed"], row["severity"]) == (False, False, None, None)
