"""The worked examples of definitions.toml that need no Spark, and the laws between the rules."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wikiweir.definitions import definitions, site

EXAMPLES = definitions()["examples"]


@pytest.mark.parametrize("example", EXAMPLES["site"], ids=lambda e: e["server_name"])
def test_site_of_a_server_name(example: dict[str, str]) -> None:
    assert site(example["server_name"]) == (example["project"], example["language"])


@pytest.mark.parametrize("server_name", [None, "", "localhost", "a..org", "wikipedia.org"])
def test_a_strange_server_name_is_unknown(server_name: str | None) -> None:
    assert site(server_name) == ("unknown", "none")


def test_there_are_at_least_thirty_worked_examples() -> None:
    assert sum(len(rows) for rows in EXAMPLES.values()) >= 30


def _is_address(text: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


@given(st.lists(st.sampled_from(["1", "ab", "FFFF", "0", "::", ":", "00000"]), min_size=1, max_size=16).map("".join))
def test_the_ipv6_pattern_is_what_the_standard_library_accepts(text: str) -> None:
    pattern = definitions()["user_class"]["ipv6"]
    assert bool(re.fullmatch(pattern, text)) == _is_address(text, ipaddress.IPv6Address)


@given(st.lists(st.sampled_from(["0", "1", "25", "255", "256", "01", "."]), min_size=1, max_size=8).map("".join))
def test_the_ipv4_pattern_is_what_the_standard_library_accepts(text: str) -> None:
    pattern = definitions()["user_class"]["ipv4"]
    assert bool(re.fullmatch(pattern, text)) == _is_address(text, ipaddress.IPv4Address)


def test_size_decades_rise() -> None:
    bounds = [bound for bound, _ in definitions()["size_bucket"]["decades"]]
    assert bounds == sorted(set(bounds))
    assert bounds[0] == 1
