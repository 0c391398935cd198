"""The functions that make leaves, forget ids, and swap generations, called as the stream role on a real server."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2 import errors
from psycopg2.extensions import connection

from tests.conftest import Postgres

ID = "00000000-0000-4000-8000-{:012x}"
NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def stream(postgres: Postgres) -> Iterator[connection]:
    with closing(postgres.connect("stream")) as connected:
        yield connected


def ask(connected: connection, statement: str, *values: object) -> Any:
    """First value of the first row, if any."""
    with connected.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def ensure(connected: connection, generation: int, *, windows: Any = (), hours: Any = (), received: Any = ()) -> int:
    made: int = ask(
        connected,
        "SELECT speed.ensure_partitions(%s, %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])",
        generation, list(windows), list(hours), list(received),
    )  # fmt: skip
    return made


def new_generation(connected: connection) -> int:
    """A shadow generation no other test uses."""
    number: int = ask(connected, "SELECT max(generation) + 1 FROM ops.generations")
    ask(connected, "SELECT speed.ensure_generation(%s)", number)
    return number


def commit_batch(connected: connection, generation: int, sequence: int, end_offsets: str) -> None:
    ask(
        connected,
        "INSERT INTO ops.stream_batches (generation, sequence, checkpoint_id, batch_id, start_offsets, end_offsets,"
        " received, facts, duplicates, canaries, rejected, left_to_batch, seen_floor, owner_epoch)"
        " VALUES (%s, %s, 'invented', %s, '{}', %s, 0, 0, 0, 0, 0, 0, '-infinity', 0)",
        generation, sequence, sequence, end_offsets,
    )  # fmt: skip


def count_events(connected: connection, generation: int, events: int) -> None:
    ensure(connected, generation, windows=[HOUR])
    ask(
        connected,
        "INSERT INTO speed.activity VALUES (%s, %s, 'testwiki', 'edit', 0, 'bot', %s, 0, 0, 0, 0, 0, 0, 0)"
        " ON CONFLICT (generation, window_start, wiki, type, namespace, user_class)"
        " DO UPDATE SET events = activity.events + excluded.events",
        generation, HOUR, events,
    )  # fmt: skip


def live(connected: connection) -> int:
    number: int = ask(connected, "SELECT generation FROM ops.generations WHERE state = 'live'")
    return number


def run_beside(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Start `work` in a thread; what it raises lands in the list."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as failure:  # handed to the test
            raised.append(failure)

    thread = threading.Thread(target=body)
    thread.start()
    return thread, raised


def wait_until_blocked(watcher: connection, pid: int) -> None:
    """Return when backend `pid` waits for a lock."""
    for _ in range(200):
        if ask(watcher, "SELECT cardinality(pg_blocking_pids(%s)) > 0", pid):
            return
        ask(watcher, "SELECT pg_sleep(0.05)")
    raise AssertionError(f"backend {pid} never waited for a lock")


# ---- leaves


@pytest.mark.parametrize(
    "instant",
    [
        "1970-01-01 00:00:00Z", "2018-05-06 23:59:59.999999Z", "2026-10-25 01:30:00+01", "2099-12-31 23:59:59Z",
        "0001-01-01 00:00:00Z", "9999-12-31 23:59:59Z",
    ],
)  # fmt: skip
def test_odd_instants_get_leaves_that_take_rows(stream: connection, instant: str) -> None:
    generation = new_generation(stream)
    made = ensure(stream, generation, windows=[instant, instant], hours=[instant], received=[instant])
    assert made == 4 + 1 + 1
    assert ensure(stream, generation, windows=[instant], hours=[instant], received=[instant]) == 0
    ask(
        stream,
        "INSERT INTO speed.seen VALUES (%s, date_trunc('hour', %s::timestamptz, 'UTC'), %s)",
        generation,
        instant,
        ID.format(1),
    )
    ask(stream, "INSERT INTO speed.edit_sizes VALUES (%s, %s, 'testwiki', 'bot', '+1', 1)", generation, instant)


@pytest.mark.parametrize("instant", ["infinity", "-infinity", "10000-01-01", "0044-03-15 BC", None])
def test_impossible_instants_are_refused_by_name(stream: connection, instant: str | None) -> None:
    with pytest.raises(errors.DatetimeFieldOverflow, match="expected instants in the years 1 to 9999"):
        ensure(stream, 1, windows=[instant])


def test_leaf_takes_over_its_parents_key_and_storage(postgres: Postgres, stream: connection) -> None:
    ensure(stream, 1, windows=["2001-02-03"])
    with closing(postgres.connect("owner")) as owner:
        assert ask(owner, "SELECT reloptions FROM pg_class WHERE relname = 'activity_g1_20010203'") == ["fillfactor=60"]
        indexes = (
            "SELECT count(*) FROM pg_index WHERE indrelid = 'speed.activity_g1_20010203'::regclass AND indisprimary"
        )
        assert ask(owner, indexes) == 1
        inherited = "SELECT count(*) FROM pg_inherits WHERE inhrelid = 'speed.activity_g1_20010203_pkey'::regclass"
        assert ask(owner, inherited) == 1


def test_unknown_generation_is_refused(stream: connection) -> None:
    with pytest.raises(errors.UndefinedTable, match="generation 999 has no tables"):
        ensure(stream, 999, windows=["2026-01-01"])


def test_session_time_zone_does_not_move_leaves(stream: connection) -> None:
    generation = new_generation(stream)
    # this session writes 12:00 as `17:30:00 IST`, and PostgreSQL before 18 reads IST as Israel's time
    ask(stream, "SET timezone = 'Asia/Kolkata'; SET datestyle = 'SQL, DMY'")
    ensure(stream, generation, windows=["2026-11-23 12:00:00Z"])
    name = f"speed.activity_g{generation}_20261123"
    assert ask(stream, "SELECT to_regclass(%s) IS NOT NULL", name)
    for minute in ("00:00", "23:59"):
        moment = f"2026-11-23 {minute}:00+00"
        ask(stream, "INSERT INTO speed.edit_sizes VALUES (%s, %s, 'w', 'bot', '+1', 1)", generation, moment)


def test_open_readers_and_writers_do_not_wait_nor_are_waited_for(postgres: Postgres, stream: connection) -> None:
    """A reader in an open transaction over the view, a writer in one over the parents, and leaves made between."""
    count_events(stream, live(stream), 0)
    with (
        closing(postgres.connect("reader", autocommit=False)) as reader,
        closing(postgres.connect("stream", autocommit=False)) as writer,
    ):
        ask(reader, "SELECT count(*) FROM serving.activity")
        ask(reader, "SELECT count(*) FROM serving.recent_changes")
        count_events(writer, live(stream), 1)
        ask(stream, "SET lock_timeout = '1s'")
        made = ensure(stream, live(stream), windows=["2031-01-01"], hours=["2031-01-01"], received=["2031-01-01"])
        assert made == 6
        held = ask(reader, "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessShareLock'")
        assert held > 4
        # and the other way round: leaves made in a transaction still open, new readers go through
        ask(writer, "SET LOCAL lock_timeout = '1s'")
        assert ensure(writer, live(stream), windows=["2031-01-02"], hours=["2031-01-02"], received=["2031-01-02"]) == 6
        with closing(postgres.connect("reader")) as newcomer:
            ask(newcomer, "SET lock_timeout = '1s'")
            ask(newcomer, "SELECT count(*) FROM serving.activity")
        writer.rollback()


def test_two_sessions_making_the_same_leaves(postgres: Postgres, stream: connection) -> None:
    """The second waits for the first's commit, finds them made, and makes only its own."""
    generation = new_generation(stream)
    days = ["2032-01-01", "2032-01-02"]
    made: list[int] = []
    with (
        closing(postgres.connect("stream", autocommit=False)) as first,
        closing(postgres.connect("stream")) as second,
    ):
        assert ensure(first, generation, windows=days, hours=days, received=days) == 12
        pid = ask(second, "SELECT pg_backend_pid()")
        days_and_more = [*days, "2032-01-03"]
        thread, raised = run_beside(
            lambda: made.append(ensure(second, generation, windows=days_and_more, hours=days, received=days))
        )
        wait_until_blocked(stream, pid)
        first.commit()
        thread.join(30)
    assert raised == []
    assert made == [4]


def test_two_sessions_making_the_same_generation(postgres: Postgres, stream: connection) -> None:
    number = ask(stream, "SELECT max(generation) + 1 FROM ops.generations")
    with (
        closing(postgres.connect("stream", autocommit=False)) as first,
        closing(postgres.connect("stream")) as second,
    ):
        ask(first, "SELECT speed.ensure_generation(%s)", number)
        pid = ask(second, "SELECT pg_backend_pid()")
        thread, raised = run_beside(lambda: ask(second, "SELECT speed.ensure_generation(%s)", number))
        wait_until_blocked(stream, pid)
        first.commit()
        thread.join(30)
    assert raised == []
    assert ask(stream, "SELECT state FROM ops.generations WHERE generation = %s", number) == "shadow"


def test_two_sessions_of_two_generations_do_not_wait(postgres: Postgres, stream: connection) -> None:
    one, other = new_generation(stream), new_generation(stream)
    with closing(postgres.connect("stream", autocommit=False)) as first:
        ensure(first, one, windows=["2033-01-01"])
        ask(stream, "SET lock_timeout = '1s'")
        assert ensure(stream, other, windows=["2033-01-01"]) == 4
        first.rollback()


def test_batch_leaves(postgres: Postgres) -> None:
    with closing(postgres.connect("batch")) as batch:
        wanted = "SELECT batch.ensure_partitions('{2026-11-23 05:00Z, 2026-11-23 06:00Z, 1970-01-01Z}')"
        assert ask(batch, wanted) == 34, "a day or a month of each table, twice"
        assert ask(batch, wanted) == 0
        ask(batch, "INSERT INTO batch.edit_sizes VALUES ('2026-11-23 05:00Z', 'testwiki', 'bot', '+1', 1)")


def test_counters_are_updated_off_the_index(postgres: Postgres, stream: connection) -> None:
    """400 keys of a minute merged 30 times: with free space on the page nearly every update is HOT."""
    generation = new_generation(stream)
    ensure(stream, generation, windows=[HOUR])
    with closing(postgres.connect("stream")) as writer:  # its statistics are told when it leaves
        for _ in range(30):
            ask(
                writer,
                "INSERT INTO speed.activity SELECT %s, %s, 'wiki' || i, 'edit', 0, 'bot', 1, 0, 0, 0, 0, 0, 0, 0"
                " FROM generate_series(1, 400) AS i"
                " ON CONFLICT (generation, window_start, wiki, type, namespace, user_class)"
                " DO UPDATE SET events = activity.events + excluded.events",
                generation, HOUR,
            )  # fmt: skip
    leaf = f"activity_g{generation}_{HOUR:%Y%m%d}"
    with closing(postgres.connect("owner")) as owner:
        for _ in range(100):
            updates = ask(owner, "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = %s", leaf)
            if updates == 29 * 400:
                break
            ask(owner, "SELECT pg_sleep(0.1)")
        assert updates == 29 * 400
        assert ask(owner, "SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s", leaf) > 0.9 * updates


# ---- retention


def seen_hours(connected: connection, generation: int) -> list[datetime]:
    with connected.cursor() as cursor:
        cursor.execute("SELECT key_hour FROM speed.seen WHERE generation = %s ORDER BY key_hour", (generation,))
        return [hour for (hour,) in cursor.fetchall()]


def arrive(connected: connection, generation: int, key_hour: datetime, arrival: datetime) -> None:
    """An id of that key hour, processed at `arrival`."""
    ensure(connected, generation, hours=[key_hour])
    ask(connected, "INSERT INTO speed.seen VALUES (%s, %s, gen_random_uuid())", generation, key_hour)
    ask(
        connected,
        "INSERT INTO ops.seen_partitions VALUES (%s, %s, %s)"
        " ON CONFLICT (generation, key_hour) DO UPDATE SET newest_arrival = excluded.newest_arrival",
        generation, key_hour, arrival,
    )  # fmt: skip


def test_an_id_stands_once_in_its_key_hour(stream: connection) -> None:
    generation = new_generation(stream)
    ensure(stream, generation, hours=[HOUR, HOUR + timedelta(hours=1)])
    insert = "INSERT INTO speed.seen VALUES (%s, %s, '00000000-0000-4000-8000-000000000001')"
    ask(stream, insert, generation, HOUR)
    ask(stream, insert, generation, HOUR + timedelta(hours=1))
    with pytest.raises(errors.UniqueViolation):
        ask(stream, insert, generation, HOUR)


def test_ids_are_forgotten_by_arrival_and_the_floor_rises(stream: connection) -> None:
    generation = new_generation(stream)
    long_ago = NOW - timedelta(hours=60)
    absurd = datetime(1970, 1, 1, tzinfo=UTC)
    arrive(stream, generation, absurd, long_ago)
    arrive(stream, generation, HOUR - timedelta(hours=70), long_ago)
    late = HOUR - timedelta(hours=69)
    arrive(stream, generation, late, NOW)  # an old hour that an id reached just now
    arrive(stream, generation, HOUR - timedelta(hours=61), long_ago)
    arrive(stream, generation, HOUR, NOW)
    assert ask(stream, "SELECT speed.expire_seen(%s, '48 hours')", generation) == HOUR - timedelta(hours=61)
    assert seen_hours(stream, generation) == [late, HOUR]
    # the hour kept above goes when its time comes; the floor does not come down to it
    arrive(stream, generation, late, long_ago)
    assert ask(stream, "SELECT speed.expire_seen(%s, '48 hours')", generation) == HOUR - timedelta(hours=61)
    assert seen_hours(stream, generation) == [HOUR]


def test_nothing_to_forget_leaves_the_floor_at_minus_infinity(stream: connection) -> None:
    generation = new_generation(stream)
    arrive(stream, generation, HOUR, NOW)
    assert ask(stream, "SELECT speed.expire_seen(%s, '48 hours')::text", generation) == "-infinity"
    assert seen_hours(stream, generation) == [HOUR]


def test_a_far_future_hour_does_not_poison_the_floor(stream: connection) -> None:
    generation = new_generation(stream)
    future = datetime(2099, 7, 8, tzinfo=UTC)
    arrive(stream, generation, future, NOW - timedelta(days=30))
    arrive(stream, generation, HOUR - timedelta(hours=60), NOW - timedelta(hours=60))
    assert ask(stream, "SELECT speed.expire_seen(%s, '48 hours')", generation) == HOUR - timedelta(hours=60)
    assert seen_hours(stream, generation) == [future]


def test_a_leaf_nothing_was_committed_to_expires_too(stream: connection) -> None:
    generation = new_generation(stream)
    ensure(stream, generation, hours=["2018-01-01"])
    ask(stream, "UPDATE ops.seen_partitions SET newest_arrival = '2018-01-01' WHERE generation = %s", generation)
    ask(stream, "SELECT speed.expire_seen(%s, '48 hours')", generation)
    assert ask(stream, "SELECT to_regclass(%s) IS NULL", f"speed.seen_g{generation}_2018010100")


def test_ids_are_not_forgotten_under_a_running_batch(postgres: Postgres, stream: connection) -> None:
    generation = new_generation(stream)
    old = HOUR - timedelta(hours=60)
    arrive(stream, generation, old, old)
    with closing(postgres.connect("stream", autocommit=False)) as batch:
        ask(batch, "SELECT epoch FROM ops.stream_owner WHERE generation = %s FOR UPDATE", generation)
        assert ask(stream, "SELECT speed.expire_seen(%s, '48 hours')::text", generation) == "-infinity"
        batch.rollback()
    assert ask(stream, "SELECT speed.expire_seen(%s, '48 hours')", generation) == old


def receive(connected: connection, generation: int, received_at: datetime) -> None:
    ensure(connected, generation, received=[received_at])
    ask(
        connected,
        "INSERT INTO speed.recent_changes VALUES (%s, %s, gen_random_uuid(), %s, 'testwiki', 'edit', 0, 'A page',"
        " gen_random_uuid(), 'Somebody', 'registered', 'major', 1, false, false)",
        generation, received_at, received_at,
    )  # fmt: skip


def test_recent_changes_are_dropped_by_whole_hours(stream: connection) -> None:
    generation = new_generation(stream)
    ages = [timedelta(0), timedelta(hours=2), timedelta(hours=5), timedelta(days=3000)]
    for age in ages:
        receive(stream, generation, NOW - age)
    assert ask(stream, "SELECT speed.expire_recent_changes(%s, '3 hours')", generation) == 2
    assert ask(stream, "SELECT count(*) FROM speed.recent_changes WHERE generation = %s", generation) == 2
    assert ask(stream, "SELECT speed.expire_recent_changes(%s, '3 hours')", generation) == 0


def test_a_drop_gives_way_to_readers(postgres: Postgres, stream: connection) -> None:
    generation = live(stream)
    receive(stream, generation, NOW - timedelta(hours=9))
    with closing(postgres.connect("reader", autocommit=False)) as reader:
        ask(reader, "SELECT count(*) FROM serving.recent_changes")
        assert ask(stream, "SELECT speed.expire_recent_changes(%s, '3 hours')", generation) == 0
    assert ask(stream, "SELECT speed.expire_recent_changes(%s, '3 hours')", generation) == 1


def test_the_ledger_keeps_its_last_row(postgres: Postgres, stream: connection) -> None:
    generation = new_generation(stream)
    for sequence in (1, 2, 3):
        commit_batch(stream, generation, sequence, "{}")
    with closing(postgres.connect("owner")) as owner:
        ask(owner, "UPDATE ops.stream_batches SET committed_at = '2020-01-01' WHERE generation = %s", generation)
    assert ask(stream, "SELECT speed.expire_ledger(%s, '14 days')", generation) == 2
    assert ask(stream, "SELECT sequence FROM ops.stream_batches WHERE generation = %s", generation) == 3


def test_the_ledger_refuses_counts_that_do_not_add_up(stream: connection) -> None:
    with pytest.raises(errors.CheckViolation, match="nothing_vanishes"):
        ask(
            stream,
            "INSERT INTO ops.stream_batches (generation, sequence, checkpoint_id, batch_id, start_offsets, end_offsets,"
            " received, facts, duplicates, canaries, rejected, left_to_batch, seen_floor, owner_epoch)"
            " VALUES (1, 1000, 'x', 1000, '{}', '{}', 10, 9, 0, 0, 0, 0, '-infinity', 0)",
        )


# ---- generations


def test_swap_is_at_once_for_a_polling_reader(postgres: Postgres, stream: connection) -> None:
    """One statement over two views never mixes generations, and counts only go up."""
    before, after = live(stream), new_generation(stream)
    for generation, events in ((before, 1000), (after, 5000)):
        count_events(stream, generation, events)
        ask(
            stream,
            "INSERT INTO speed.edit_sizes SELECT generation, window_start, wiki, user_class, '+1', events"
            " FROM speed.activity WHERE generation = %s AND window_start = %s",
            generation, HOUR,
        )  # fmt: skip
        ask(stream, "INSERT INTO ops.stream_outcomes VALUES (%s, %s, 'fact', '', %s)", generation, HOUR, events)
        commit_batch(stream, generation, 1, '{"0": 10}')
    polled: list[tuple[int, int]] = []
    stop = threading.Event()

    def poll() -> None:
        with closing(postgres.connect("reader")) as reader, reader.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(
                    "SELECT (SELECT sum(events)::bigint FROM serving.activity WHERE window_start = %s),"
                    " (SELECT sum(edits)::bigint FROM serving.edit_sizes WHERE window_start = %s)",
                    (HOUR, HOUR),
                )
                polled.extend(cursor.fetchall())

    thread, raised = run_beside(poll)
    while len(polled) < 20 and thread.is_alive():
        ask(stream, "SELECT pg_sleep(0.01)")
    ask(stream, "SELECT speed.swap_generation(%s, %s)", before, after)
    mark = len(polled)
    while len(polled) < mark + 20 and thread.is_alive():
        ask(stream, "SELECT pg_sleep(0.01)")
    stop.set()
    thread.join(30)
    assert raised == []
    assert {a == b for a, b in polled} == {True}
    seen = [a for a, _ in polled]
    assert seen == sorted(seen)
    assert len(set(seen)) == 2
    assert live(stream) == after


def test_swap_fences_the_retired_driver(stream: connection) -> None:
    before, after = live(stream), new_generation(stream)
    commit_batch(stream, before, 100, '{"0": 10, "1": 20}')
    commit_batch(stream, after, 1, '{"0": 10, "1": 25}')
    epoch = ask(stream, "SELECT epoch FROM ops.stream_owner WHERE generation = %s", before)
    ask(stream, "SELECT speed.swap_generation(%s, %s)", before, after)
    assert ask(stream, "SELECT epoch FROM ops.stream_owner WHERE generation = %s", before) == epoch + 1
    assert ask(stream, "SELECT retired_at IS NOT NULL FROM ops.generations WHERE generation = %s", before)
    assert ask(stream, "SELECT went_live_at IS NOT NULL FROM ops.generations WHERE generation = %s", after)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="is retired"):
        ask(stream, "SELECT speed.ensure_generation(%s)", before)


def test_swap_retires_the_shadows_that_were_given_up(stream: connection) -> None:
    before, given_up, after, newer = live(stream), *(new_generation(stream) for _ in range(3))
    commit_batch(stream, after, 1, '{"0": 500, "1": 500}')
    epoch = ask(stream, "SELECT epoch FROM ops.stream_owner WHERE generation = %s", given_up)
    ask(stream, "SELECT speed.swap_generation(%s, %s)", before, after)
    with stream.cursor() as cursor:
        cursor.execute("SELECT generation, state FROM ops.generations WHERE generation >= %s ORDER BY 1", (given_up,))
        assert cursor.fetchall() == [(given_up, "retired"), (after, "live"), (newer, "shadow")]
    assert ask(stream, "SELECT epoch FROM ops.stream_owner WHERE generation = %s", given_up) == epoch + 1
    ask(stream, "SELECT speed.drop_generation(%s)", given_up)
    assert ask(stream, "SELECT to_regclass(%s) IS NULL", f"speed.seen_g{given_up}")


@pytest.mark.parametrize("reached", ['{"0": 9, "1": 20}', '{"0": 10}', "{}", None])
def test_swap_refuses_a_shadow_that_is_behind(stream: connection, reached: str | None) -> None:
    before, after = live(stream), new_generation(stream)
    sequence = ask(
        stream, "SELECT COALESCE(max(sequence), 0) + 1 FROM ops.stream_batches WHERE generation = %s", before
    )
    commit_batch(stream, before, sequence, '{"0": 10, "1": 20}')
    if reached:
        commit_batch(stream, after, 1, '{"0": 10, "1": 20}')  # an older row does not count
        commit_batch(stream, after, 2, reached)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match=r"is behind generation .* partition [01]"):
        ask(stream, "SELECT speed.swap_generation(%s, %s)", before, after)
    assert live(stream) == before


def test_swap_waits_for_the_batch_under_way(postgres: Postgres, stream: connection) -> None:
    """No batch gets between the check and the flip: the swap waits for it, sees it, and refuses."""
    before, after = live(stream), new_generation(stream)
    sequence = ask(
        stream, "SELECT COALESCE(max(sequence), 0) + 1 FROM ops.stream_batches WHERE generation = %s", before
    )
    commit_batch(stream, before, sequence, '{"0": 10}')
    commit_batch(stream, after, 1, '{"0": 10}')
    with (
        closing(postgres.connect("stream", autocommit=False)) as driver,
        closing(postgres.connect("stream")) as swapper,
    ):
        ask(driver, "SELECT epoch FROM ops.stream_owner WHERE generation = %s FOR UPDATE", before)
        commit_batch(driver, before, sequence + 1, '{"0": 11}')
        pid = ask(swapper, "SELECT pg_backend_pid()")
        thread, raised = run_beside(lambda: ask(swapper, "SELECT speed.swap_generation(%s, %s)", before, after))
        wait_until_blocked(stream, pid)
        driver.commit()
        thread.join(30)
    assert [type(failure) for failure in raised] == [errors.ObjectNotInPrerequisiteState]
    assert live(stream) == before


def test_swap_refuses_wrong_states(stream: connection) -> None:
    shadow = new_generation(stream)
    for pair in ((shadow, live(stream)), (live(stream), live(stream)), (live(stream), 999)):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match=r"to be live and .* to be shadow"):
            ask(stream, "SELECT speed.swap_generation(%s, %s)", *pair)


def test_drop_refuses_all_but_retired(stream: connection) -> None:
    for generation in (live(stream), new_generation(stream), 999):
        with pytest.raises(
            errors.ObjectNotInPrerequisiteState, match=f"expected generation {generation} to be retired"
        ):
            ask(stream, "SELECT speed.drop_generation(%s)", generation)


def test_drop_takes_everything_but_the_fence(stream: connection) -> None:
    before, after = live(stream), new_generation(stream)
    count_events(stream, before, 1)
    offsets = ask(
        stream, "SELECT end_offsets FROM ops.stream_batches WHERE generation = %s ORDER BY sequence DESC", before
    )
    commit_batch(stream, after, 1, '{"0": 1000, "1": 1000}')
    assert not offsets or max(offsets.values()) < 1000
    ask(stream, "SELECT speed.swap_generation(%s, %s)", before, after)
    ask(stream, "SELECT speed.drop_generation(%s)", before)
    ask(stream, "SELECT speed.drop_generation(%s)", before)
    for table in ("speed.activity", "speed.seen", "ops.stream_batches", "ops.seen_partitions"):
        assert ask(stream, f"SELECT count(*) FROM {table} WHERE generation = %s", before) == 0
    assert ask(stream, "SELECT to_regclass(%s) IS NULL", f"speed.activity_g{before}")
    assert ask(stream, "SELECT count(*) FROM ops.stream_owner WHERE generation = %s", before) == 1
    with pytest.raises(errors.UndefinedTable, match="has no tables"):
        ensure(stream, before, windows=["2026-01-01"])


# ---- binding


def test_a_database_belongs_to_one_source(postgres: Postgres, stream: connection) -> None:
    for nothing in (None, "", "unset"):
        with pytest.raises(errors.InvalidParameterValue, match="WIKIWEIR_SOURCE_ID"):
            ask(stream, "SELECT ops.bind_instance(%s)", nothing)
    assert ask(stream, "SELECT ops.bind_instance('synthetic seed 1')") == "synthetic seed 1"
    assert ask(stream, "SELECT ops.bind_instance('synthetic seed 1')") == "synthetic seed 1"
    with closing(postgres.connect("batch")) as batch, pytest.raises(errors.ObjectNotInPrerequisiteState, match="reset"):
        ask(batch, "SELECT ops.bind_instance('live')")


def test_an_hour_waits_for_the_producer_and_then_for_both_queries(stream: connection) -> None:
    def waits_for(hour: datetime) -> Any:
        return ask(stream, "SELECT ops.hour_waits_for(%s)", hour)

    def ends(hour: datetime, first: int, second: int) -> None:
        ask(
            stream,
            "INSERT INTO ops.hour_ends (hour, cursor_at, end_offsets) VALUES (%s, now(), %s)",
            hour, f'{{"0": {first}, "1": {second}}}',
        )  # fmt: skip

    def commits(query: str, offsets: str) -> None:
        if query == "lake":
            ask(
                stream,
                "INSERT INTO ops.stream_progress (query, state, end_offsets) VALUES ('lake', 'running', %s)"
                " ON CONFLICT (query) DO UPDATE SET end_offsets = excluded.end_offsets",
                offsets,
            )
        else:
            ask(
                stream,
                "INSERT INTO ops.stream_batches SELECT g.generation, b.n, 'c', b.n, '{}', %s, 0, 0, 0, 0, 0, 0,"
                " g.seen_floor, 0 FROM ops.generations AS g, LATERAL (SELECT coalesce(max(sequence), 0) + 1 AS n"
                " FROM ops.stream_batches WHERE generation = g.generation) AS b WHERE g.state = 'live'",
                offsets,
            )

    early, late = HOUR - timedelta(hours=3), HOUR - timedelta(hours=1)
    assert waits_for(early) == "the producer has not read past its end"
    ends(late, 100, 200)
    ask(stream, "UPDATE ops.stream_progress SET end_offsets = '{}' WHERE query = 'lake'")
    commits("speed", '{"0": 99}')
    assert waits_for(early) == (
        "the lake query is at offset 0 of partition 0 and needs 100; the lake query is at offset 0 of partition 1"
        " and needs 200; the speed query is at offset 99 of partition 0 and needs 100; the speed query is at offset 0"
        " of partition 1 and needs 200"
    )
    commits("speed", '{"0": 150, "1": 200}')
    commits("lake", '{"0": 100, "1": 199}')
    assert waits_for(late) == "the lake query is at offset 199 of partition 1 and needs 200"
    commits("lake", '{"0": 100, "1": 200}')
    assert waits_for(late) is None
    assert waits_for(early) is None, "what was read later covers the earlier hour"
    assert waits_for(HOUR) is not None
    ends(early, 10, 20)
    commits("lake", '{"0": 10, "1": 20}')
    assert waits_for(early) is None, "its own end is nearer than the next hour's"
    assert waits_for(late) is not None


@pytest.mark.parametrize(
    ("changes", "runbook"),
    [
        ({}, None),
        ({"updated_at": "now() - interval '2 minutes'"}, "stream_silent"),
        ({"seconds_behind": "61"}, "stream_behind"),
        ({"newest_event_at": "now() - interval '16 minutes'"}, "source_silent"),
        ({"newest_event_at": "now() - interval '16 minutes'", "rows_per_second": "3000"}, "source_behind"),
    ],
)
def test_what_the_stream_reports_names_its_runbook(
    stream: connection, changes: dict[str, str], runbook: str | None
) -> None:
    said = {"updated_at": "now()", "newest_event_at": "now()", "seconds_behind": "1", "rows_per_second": "0", **changes}
    ask(
        stream,
        f"INSERT INTO ops.stream_progress (query, state, {', '.join(said)})"
        f" VALUES ('speed', 'running', {', '.join(said.values())}) ON CONFLICT (query) DO UPDATE"
        f" SET {', '.join(f'{name} = excluded.{name}' for name in said)}",
    )
    with stream.cursor() as cursor:
        cursor.execute("SELECT runbook FROM ops.complaints() WHERE subject = 'speed'")
        assert cursor.fetchall() == ([(runbook,)] if runbook else [])
