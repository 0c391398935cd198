"""The envelope: what is an event, and what is a dead letter for which reason."""

import json

import pytest

from ingestion.envelope import Reason, UnroutableError, decode, moved, places
from tests.unit.ingestion.support import CODFW, EQIAD, T0, data, event_id


def test_routing_fields_of_an_event() -> None:
    envelope = decode(data(7))
    assert envelope.meta.id == "00000000-0000-4000-8000-000000000007"
    assert (envelope.meta.topic, envelope.meta.partition, envelope.meta.offset) == (*EQIAD, 6_500_000_007)
    assert envelope.type == "edit"


@pytest.mark.parametrize(
    "line",
    [
        b'{"meta":{"id":"a"}}',
        b'{"meta":{"id":"a"},"type":142}',
        b'{"meta":{"id":"a","dt":5,"domain":[],"topic":{},"partition":"0","offset":1.5},"type":null}',
        b'{"meta":{"id":"a","offset":123456789012345678901234567890}}',
        b'{"meta":{"id":"a"},"title":"\\u0000"}',
        b'{"meta":{"id":"a"},"title":"\\ud800"}',
        b'{"meta":{"id":"a"},"type":"\\ud800"}',
        b'{"meta":{"id":"a","dt":"\\udfff"}}',
        '{"meta":{"id":"a"},"title":"one\u2028two"}'.encode(),
        b'{"meta":{"id":"a"},"number":' + b"9" * 5000 + b"}",
        b'{"type":5,"meta":{"id":"a"},"number":' + b"9" * 5000 + b"}",
        b'{"meta":{"id":"a"},"deep":' + b"[" * 50 + b"]" * 50 + b"}",
        b'{"meta":{"id":"a"},"meta":{"id":"a"}}',
    ],
)
def test_odd_but_an_event(line: bytes) -> None:
    assert decode(line).meta.id == "a"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"meta":{"id":"a"', Reason.INVALID_JSON),
        (b"", Reason.INVALID_JSON),
        (b'{"meta":{"id":"a"},"bot":tru}', Reason.INVALID_JSON),
        (b'{"meta":{"id":"a"},"n":NaN}', Reason.INVALID_JSON),
        (b'{"meta":{"id":"a"}} trailing', Reason.INVALID_JSON),
        (b'{"meta":{"id":"a"},"title":"\x00"}', Reason.INVALID_JSON),
        (b'{"meta":{"id":"a"},"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}", Reason.INVALID_JSON),
        (b'{"meta":{"id":"a"},"title":"\xc3("}', Reason.INVALID_UTF8),
        (b'{"meta":{"id":"a"},"title":"\xed\xa0\x80"}', Reason.INVALID_UTF8),
        (b"{}", Reason.NO_META_ID),
        (b"[]", Reason.NO_META_ID),
        (b'"text"', Reason.NO_META_ID),
        (b"5", Reason.NO_META_ID),
        (b'{"meta":null}', Reason.NO_META_ID),
        (b'{"meta":[]}', Reason.NO_META_ID),
        (b'{"meta":{}}', Reason.NO_META_ID),
        (b'{"meta":{"id":null}}', Reason.NO_META_ID),
        (b'{"meta":{"id":5}}', Reason.NO_META_ID),
        (b'{"meta":{"id":""}}', Reason.NO_META_ID),
        (b'{"meta":{"id":"\\ud800"}}', Reason.NO_META_ID),
    ],
)
def test_dead_letters_and_why(line: bytes, reason: Reason) -> None:
    with pytest.raises(UnroutableError) as caught:
        decode(line)
    assert caught.value.reason is reason


def test_entries_of_an_id() -> None:
    first, second = places(event_id((EQIAD, T0), (CODFW, -1)))
    assert (first.topic, first.partition, first.timestamp) == (*EQIAD, T0 + 1)
    assert (second.topic, second.partition, second.timestamp) == (*CODFW, -1)


@pytest.mark.parametrize(
    "text", [None, "", "5", "{}", '["eqiad.x"]', '[{"topic":"x"}]', '[{"topic":1,"partition":0}]', "["]
)
def test_an_id_that_is_none_has_no_entries(text: str | None) -> None:
    assert places(text) == []


def test_what_moved_between_two_ids() -> None:
    before = event_id((EQIAD, T0), (CODFW, T0))
    after = event_id((EQIAD, T0), (CODFW, T0 + 5))
    place = moved(before, after)
    assert place is not None
    assert (place.topic, place.timestamp) == (CODFW[0], T0 + 6)
    assert moved(None, after) is None, "two entries with a time: either"
    assert moved(before, before) is None
    assert moved(None, event_id((EQIAD, T0), (CODFW, -1))) is not None
    assert json.loads(before)
