"""The log of a recording: numbering, times out of order, pacing, and what is done to it from outside."""

from local.replay.log import Line, MemoryLog

EQIAD, CODFW = "eqiad.mediawiki.recentchange", "codfw.mediawiki.recentchange"


def lines(*times: int, topic: str = EQIAD) -> list[Line]:
    return [Line(topic, ms, b'{"meta":{"id":"%d"' % i, b"}}") for i, ms in enumerate(times)]


def test_offsets_have_no_hole_and_recorded_ones_are_kept() -> None:
    recorded = [Line(EQIAD, 1, b"{", b"}", offset) for offset in (10, 11, 13)]
    log = MemoryLog(recorded)
    assert [r.offset for r in log.read(0, 9)] == [10, 11, 13], "the capturer's gap stays"
    assert log.first_offset(EQIAD) == 10
    assert log.end_offset(EQIAD) == 14
    assert log.first_offset(CODFW) == log.end_offset(CODFW) == 2_043_000_000


def test_a_repeated_offset_keeps_its_bytes_and_gets_the_next_place() -> None:
    exact = b'{"meta":{"topic":"x","partition":0,"offset":10}}'
    log = MemoryLog([Line(EQIAD, 1, b"{", b"}", 10), Line(EQIAD, 1, b"{", b"}", 10, exact)])
    second = log.read(1, 1)[0]
    assert second.offset == 11
    assert second.line() == exact


def test_offset_at_is_the_first_with_a_time_at_or_after() -> None:
    log = MemoryLog(lines(5, 9, 7, -100, 9, 12))
    base = log.first_offset(EQIAD)
    found = {ms: log.offset_at(EQIAD, ms) for ms in (0, 5, 6, 8, 9, 10, 12, 13)}
    assert found == {
        0: base, 5: base, 6: base + 1, 8: base + 1, 9: base + 1, 10: base + 5, 12: base + 5, 13: None
    }  # fmt: skip


def test_retention_cut() -> None:
    log = MemoryLog(lines(1, 2, 3, 4))
    base = log.first_offset(EQIAD)
    log.retain_from(3)
    assert log.first_offset(EQIAD) == base + 2
    assert log.offset_at(EQIAD, 0) == base + 2
    assert [r.offset for r in log.read(0, 9)] == [base + 2, base + 3]


def test_paced_by_rate_from_the_first_client_on() -> None:
    log = MemoryLog(lines(*range(10)), rate=2)
    log.advance(99_000)
    assert log.end_seq == 0, "nobody is there yet"
    log.start(100_000)
    log.advance(100_000)
    assert log.end_seq == 1
    log.advance(101_000)
    assert log.end_seq == 3
    log.advance(200_000)
    assert log.end_seq == 10
    assert log.is_exhausted


def test_paced_by_timestamps_with_a_bound_on_gaps() -> None:
    log = MemoryLog(lines(0, 1000, 500, 3_000_000), speed=10)
    log.start(0)
    log.advance(99)
    assert log.end_seq == 1
    log.advance(100)
    assert log.end_seq == 3, "a step back in time does not wait"
    log.advance(300)
    assert log.end_seq == 4, "a gap of 50 minutes counts two seconds, at ten times the speed 0.2 s"


def test_data_centre_switch() -> None:
    log = MemoryLog(lines(*range(4)), rate=1, switches={3: "eqiad"})
    log.start(0)
    log.advance(0)
    log.switch("codfw")
    log.advance(10_000)
    assert [r.topic for r in log.read(0, 9)] == [EQIAD, CODFW, CODFW, EQIAD]
    assert log.read(1, 1)[0].offset == 2_043_000_000
    assert b'"topic":"codfw.mediawiki.recentchange"' in log.read(1, 1)[0].line()
    assert log.seq_of(CODFW, 2_043_000_001) == 2
    assert log.seq_of(CODFW, 2_043_000_002) == 4, "not written yet: the end"


def test_append_at_the_head() -> None:
    log = MemoryLog(lines(1, 2))
    log.append(Line(CODFW, 7, b"exactly this", None))
    assert log.read(2, 9)[0].line() == b"exactly this"
    assert log.topics == [CODFW, EQIAD]
