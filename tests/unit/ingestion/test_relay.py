"""The relay over a sink in memory: what a record looks like, back-pressure, dead letters, the cursor."""

import hashlib
import zlib

import pytest

from ingestion.framing import PREFIX_BYTES, OversizeFrame
from ingestion.relay import CURSOR_SECONDS, DeliveryError
from ingestion.watermark import WINDOW
from tests.unit.ingestion.support import (
    CODFW,
    EQIAD,
    T0,
    MemorySink,
    an_event,
    data,
    event_id,
    relay,
    settings,
)
from wikiweir.records import Cursor, RelayStamp, SourcePosition

NAMES = settings()


def identity(n: int) -> str:
    return event_id((EQIAD, T0 + n), (CODFW, -1))


def test_a_record_is_the_exact_bytes_keyed_and_placed_by_the_id() -> None:
    sink = MemorySink()
    made, _, _ = relay(sink)
    line = data(7, title="Zürich \u2028 東京", comment='<b>"</b>').replace(b":", b": ", 3)
    assert made.submit(an_event(line, identity(7)), 1_790_000_005_000)
    (record,) = sink.sent
    key = b"00000000-0000-4000-8000-000000000007"
    assert (record.topic, record.value, record.key) == (NAMES.events_topic, line, key)
    assert record.partition == zlib.crc32(key) % NAMES.kafka_partitions
    assert record.timestamp_ms == 1_790_000_005_000
    assert SourcePosition.decode(record.headers["source"]) == SourcePosition(*EQIAD, 6_500_000_007, T0 + 8)
    assert RelayStamp.decode(record.headers["relay"]) == RelayStamp("run", 0, 1_790_000_005_000)


def test_one_id_one_partition_also_in_upper_case() -> None:
    sink = MemorySink()
    made, _, _ = relay(sink)
    for n in range(20):
        line = data(n).replace(b"00000000-0000-4000-8000-", b"abcdefab-0000-4000-8000-")
        made.submit(an_event(line), T0)
        made.submit(an_event(line.replace(b"abcdefab", b"ABCDEFAB")), T0)
    partitions = [record.partition for record in sink.sent]
    assert partitions[::2] == partitions[1::2]
    assert len(set(partitions)) > 1


def test_sequences_run_through_events_and_dead_letters_without_a_hole() -> None:
    sink = MemorySink()
    made, tally, _ = relay(sink)
    for n, line in enumerate([data(0), b"{broken", data(2), b"{}", data(4)]):
        made.submit(an_event(line, identity(n)), T0)
    made.submit_oversize(OversizeFrame(b"data: x", 20_000_000, "00"), T0)
    made.submit(an_event(data(6), identity(6)), T0)
    stamps = [RelayStamp.decode(record.headers["relay"]).sequence for record in sink.sent]
    assert stamps == list(range(7))
    assert tally.dead_letters == {"invalid_json": 1, "no_meta_id": 1, "too_large": 1}
    assert made.taken == 7


def test_a_dead_letter_keeps_a_prefix_the_length_and_the_digest() -> None:
    sink = MemorySink()
    made, _, _ = relay(sink)
    line = b'{"meta":{"id":"a"},"comment":"' + b"\xff" * 100_000
    made.submit(an_event(line, identity(3)), T0)
    (record,) = sink.of(NAMES.dead_letters_topic)
    assert (record.value, record.key, record.partition) == (line[:PREFIX_BYTES], None, 0)
    assert record.headers["reason"] == b"invalid_utf8"
    assert record.headers["bytes"] == str(len(line)).encode()
    assert record.headers["sha256"] == hashlib.sha256(line).hexdigest().encode()
    assert SourcePosition.decode(record.headers["source"]) == SourcePosition(*EQIAD, -1, T0 + 4)


def test_the_size_limit_is_exact() -> None:
    sink = MemorySink()
    made, _, _ = relay(sink, max_event_bytes=1000)
    fits = data(1, comment="x" * (1000 - len(data(1, comment=""))))
    assert len(fits) == 1000
    made.submit(an_event(fits), T0)
    made.submit(an_event(fits.replace(b"xx", b"xxx", 1)), T0)
    assert [record.topic for record in sink.sent] == [NAMES.events_topic, NAMES.dead_letters_topic]
    assert sink.sent[1].headers["reason"] == b"too_large"


def test_nul_lone_surrogate_and_megabyte_comment_are_events() -> None:
    sink = MemorySink()
    made, _, _ = relay(sink)
    lines = [
        data(1, comment="nul").replace(b"nul", b"\\u0000"),
        data(2, comment="lone").replace(b"lone", b"\\ud800"),
        data(3, comment="m" * 1024**2),
        data(4).replace(b'"edit"', b'"\\udfff"'),
    ]
    for line in lines:
        made.submit(an_event(line), T0)
    assert [record.value for record in sink.of(NAMES.events_topic)] == lines


def test_a_canary_is_counted_and_sent_on() -> None:
    sink = MemorySink()
    made, tally, _ = relay(sink)
    made.submit(an_event(data(1).replace(b"nowhere.example.org", b"canary").replace(b',"type":"edit"', b"")), T0)
    assert tally.canaries == 1
    assert len(sink.of(NAMES.events_topic)) == 1


def test_without_a_source_position_an_event_still_travels() -> None:
    sink = MemorySink()
    made, _, _ = relay(sink)
    made.submit(an_event(b'{"meta":{"id":"a"}}'), T0)
    assert SourcePosition.decode(sink.sent[0].headers["source"]) == SourcePosition("", -1, -1, -1)


def test_too_much_in_flight_is_not_taken_and_taken_after_an_acknowledgement() -> None:
    sink = MemorySink(is_eager=False)
    made, _, _ = relay(sink, max_in_flight=3)
    assert [made.submit(an_event(data(n)), T0) for n in range(5)] == [True, True, True, False, False]
    assert len(sink.sent) == 3
    sink.sent[0].is_done = True
    made.poll()
    assert made.submit(an_event(data(3)), T0)
    assert not made.submit_oversize(OversizeFrame(b"", 0, ""), T0)


def test_bytes_in_flight_are_bounded_too() -> None:
    sink = MemorySink(is_eager=False)
    made, tally, _ = relay(sink)
    line = data(1, comment="x" * 9_000_000)
    taken = 0
    while made.submit(an_event(line), T0):
        taken += 1
    made.poll()
    assert taken == 8
    assert tally.in_flight_bytes >= 64 * 1024**2


def test_a_failed_delivery_is_raised_not_skipped() -> None:
    sink = MemorySink(is_eager=False)
    made, _, _ = relay(sink)
    for n in range(2):
        made.submit(an_event(data(n), identity(n)), T0)
    sink.sent[0].exception = RuntimeError("no leader")
    sink.sent[0].is_done = sink.sent[1].is_done = True
    with pytest.raises(DeliveryError, match="no leader"):
        made.poll()


def test_the_cursor_is_written_at_most_once_a_second_and_only_if_it_says_something_new() -> None:
    sink = MemorySink()
    made, _, clock = relay(sink)
    made.poll()
    (first,) = sink.of(NAMES.cursors_topic)
    assert first.key == b"recentchange"
    assert Cursor.decode(first.value) == Cursor(T0, {})
    for n in range(WINDOW):
        made.submit(an_event(data(n), identity(n)), T0)
        made.poll()
    assert len(sink.of(NAMES.cursors_topic)) == 1
    clock.sleep(CURSOR_SECONDS)
    made.poll()
    clock.sleep(CURSOR_SECONDS)
    made.poll()
    _, second = sink.of(NAMES.cursors_topic)
    assert Cursor.decode(second.value) == Cursor(T0, {EQIAD: T0, CODFW: T0})


def test_flush_writes_the_last_cursor() -> None:
    sink = MemorySink()
    made, _, _ = relay(sink)
    for n in range(100):
        made.submit(an_event(data(n), identity(n)), T0)
    assert made.flush(1)
    assert Cursor.decode(sink.of(NAMES.cursors_topic)[-1].value).watermarks[EQIAD] == T0 + 100 - WINDOW


def test_flush_says_when_it_could_not() -> None:
    sink = MemorySink(is_eager=False)
    made, _, _ = relay(sink)
    made.submit(an_event(data(1), identity(1)), T0)
    assert not made.flush(0.1)


def test_a_restart_goes_on_where_the_cursor_is_and_names_the_idle_topic() -> None:
    made, _, _ = relay(MemorySink(), Cursor(T0, {EQIAD: T0 + 500_000, CODFW: T0}))
    assert made.begin_connection(120_000).topics == {EQIAD: T0 + 380_000, CODFW: T0 + 380_000}


def test_a_history_that_is_too_short_is_counted() -> None:
    made, tally, _ = relay(MemorySink(), Cursor(T0, {EQIAD: T0 + 500_000}))
    made.begin_connection(120_000)
    for n in (900_000, 900_001):
        made.submit(an_event(data(n), identity(n)), T0)
    assert (tally.gaps, tally.gap_ms) == (1, 400_000)


def test_types_are_an_open_set_but_their_counts_are_bounded() -> None:
    made, tally, _ = relay(MemorySink())
    for n in range(300):
        made.submit(an_event(data(n, type=f"type {n}")), T0)
    assert len(tally.events) <= 60
    assert sum(tally.events.values()) == 300
