"""Headers and cursor survive the way through Kafka."""

from hypothesis import given
from hypothesis import strategies as st

from wikiweir.records import Cursor, RelayStamp, SourcePosition

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.text(min_size=1), INT64, INT64, INT64)
def test_source_header_round_trips(topic: str, partition: int, offset: int, timestamp_ms: int) -> None:
    position = SourcePosition(topic, partition, offset, timestamp_ms)
    assert SourcePosition.decode(position.encode()) == position


@given(st.text(min_size=1), INT64, INT64)
def test_relay_header_round_trips(run: str, sequence: int, received_ms: int) -> None:
    stamp = RelayStamp(run, sequence, received_ms)
    assert RelayStamp.decode(stamp.encode()) == stamp


@given(INT64, st.dictionaries(st.tuples(st.text(), st.integers(0, 9)), INT64))
def test_cursor_round_trips(base_ms: int, watermarks: dict[tuple[str, int], int]) -> None:
    cursor = Cursor(base_ms, watermarks)
    assert Cursor.decode(cursor.encode()) == cursor
