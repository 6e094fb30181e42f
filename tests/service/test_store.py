"""The database file, and rows that come back as they were written."""

import errno
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import PlatformUnavailable
from reconciler.model import (
    ActualGateway,
    Cause,
    Certificate,
    EncryptionMode,
    Failure,
    FailureKind,
    Fingerprint,
    Gateway,
    ProtocolType,
    ReceiveFrom,
    State,
    Status,
    StatusState,
    WhenFailed,
)
from reconciler.service.database import empty_log, journal_mode, open_readable, open_writable
from reconciler.service.faults import translated
from reconciler.service.rows import DECLARED, READ, declared_values
from reconciler.service.store import Store
from reconciler.service.upgrade import APPLICATION_ID, MIGRATIONS, VERSION, transaction

NOW = "2026-01-01T00:00:00Z"
CONNECTING = Status(StatusState.CONNECTING, NOW, NOW, actor="alice")
GATEWAY = Gateway("support", ProtocolType.SMTP, "mail.example.com", 465)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "platform.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_writable(path)) as opened:
        yield opened


@pytest.fixture
def store(connection: sqlite3.Connection) -> Store:
    return Store(connection, "local")


# rows

_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
_certificates = st.builds(Certificate, _text, st.sampled_from(["PEM A", "PEM B", "PEM C"]))
_gateways = st.builds(
    Gateway,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    protocol_type=st.sampled_from(ProtocolType),
    host=_text,
    port=st.integers(1, 65535),
    user_id=st.none() | _text,
    default_email_address=st.none() | _text,
    default_user_name=st.none() | _text,
    authentication_flag=st.booleans(),
    encoding_mode=_text,
    encryption_mode=st.sampled_from(EncryptionMode),
    certificate=st.none() | _certificates,
    case_sensitivity=st.booleans(),
    receive_from=st.sampled_from(ReceiveFrom),
    state=st.sampled_from(State),
    when_failed=st.sampled_from(WhenFailed),
    protect=st.booleans(),
    labels=st.dictionaries(_text, _text, max_size=3).map(lambda d: tuple(sorted(d.items()))),
)
_failures = st.builds(Failure, st.sampled_from(FailureKind), st.none() | _text, _text, _text)
_statuses = st.builds(
    Status,
    st.sampled_from(StatusState),
    st.just(NOW),
    st.just("2026-01-02T00:00:00Z"),
    st.none() | _failures,
    st.none() | st.sampled_from(Cause),
    _text,
)


@settings(max_examples=150, deadline=None)
@given(_gateways, _gateways, _statuses)
def test_rows_come_back_as_they_were_written(
    gateway: Gateway, after: Gateway, status: Status
) -> None:
    """Also through an edit; by every way of reading; and with each value of its own type."""
    after = replace(after, name=gateway.name)
    path = Path(":memory:")
    with closing(_in_memory()) as connection:
        store = Store(connection, "local")
        store.insert(gateway, "ours", status, NOW)
        first = ActualGateway(gateway, status, "1", "ours", applied=gateway)
        assert store.find(gateway.name) == first
        fingerprint = Fingerprint("key", "digest")
        store.write_password(gateway.name, b"sealed", fingerprint)
        store.write_fields(after, "theirs")
        store.advance(gateway.name, status, NOW)
        expected = ActualGateway(
            after, status, "2", "theirs", fingerprint, has_password=True, applied=after
        )
        assert store.snapshot() == (expected,)
        row = store.remember_answer("key", "request", gateway.name, NOW)
        answered = store.answer("key")
        assert answered is not None
        assert store.restore(row) == store.restore(answered[1]) == expected
        read_back = store.snapshot()[0].gateway
        assert repr(read_back) == repr(after), path


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    for file in sorted(MIGRATIONS.glob("*.sql")):
        connection.executescript(file.read_text())
    return connection


def test_every_declared_field_has_its_column() -> None:
    fields = set(Gateway.__slots__) - {"certificate"}
    assert set(DECLARED) == fields | {"certificate_file", "certificate_digest"}
    assert len(declared_values(GATEWAY)) == len(DECLARED)
    assert len(set(READ)) == len(READ)


def test_what_was_applied_outlives_a_change_from_outside(store: Store) -> None:
    gateway = replace(GATEWAY, certificate=Certificate("a.pem", "PEM A"))
    store.insert(gateway, "ours", CONNECTING, NOW)
    store.insert(replace(GATEWAY, name="z", certificate=None), "ours", CONNECTING, NOW)
    store._connection.execute(
        "UPDATE gateways SET certificate_digest = NULL, port = 25 WHERE name = 'support'"
    )
    for actual in (store.snapshot()[0], store.find("support")):
        assert actual is not None
        assert actual.gateway == replace(GATEWAY, port=25)
        assert actual.applied == gateway


def test_equal_values_are_shared(store: Store) -> None:
    anchor = Certificate("a.pem", "PEM A")
    for name in ("a", "b"):
        gateway = replace(GATEWAY, name=name, certificate=anchor, labels=(("env", "test"),))
        store.insert(gateway, "ours", CONNECTING, NOW)
    first, second = store.snapshot()
    assert first.gateway is first.applied
    assert first.gateway.certificate is second.gateway.certificate
    assert first.gateway.labels is second.gateway.labels
    assert first.gateway.host is second.gateway.host


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE gateways SET protocol_type = 'SMTQ'",
        "UPDATE gateways SET labels = '{'",
        "UPDATE gateways SET labels = '7'",
        "UPDATE gateways SET applied = '[]'",
        "UPDATE gateways SET status = ''",
    ],
)
def test_an_altered_row_is_told(store: Store, damage: str) -> None:
    store.insert(GATEWAY, "ours", CONNECTING, NOW)
    store._connection.execute(damage)
    with pytest.raises(PlatformUnavailable, match="gateway 'support' cannot be read"):
        store.snapshot()


def test_tenants_are_apart(connection: sqlite3.Connection) -> None:
    ours, theirs = Store(connection, "ours"), Store(connection, "theirs")
    ours.insert(GATEWAY, "me", CONNECTING, NOW)
    assert theirs.snapshot() == ()
    assert theirs.find("support") is None
    theirs.insert(replace(GATEWAY, port=25), "me", CONNECTING, NOW)
    theirs.write_password("support", b"sealed", None)
    assert ours.password("support") is None
    assert [one.gateway.port for one in ours.snapshot()] == [465]


def test_an_earlier_owner_of_a_session_is_fenced_off(store: Store) -> None:
    """G30."""
    store.insert(GATEWAY, "ours", CONNECTING, NOW)
    up = Status(StatusState.SUCCEEDED, NOW, NOW)
    assert store.record_status("support", "1", up, epoch=2)
    assert not store.record_status("support", "1", CONNECTING, epoch=1)
    assert not store.record_status("support", "7", CONNECTING, epoch=3)
    found = store.find("support")
    assert found is not None
    assert found.status == up


def test_a_gateway_costs_less_than_4_kib(connection: sqlite3.Connection, store: Store) -> None:
    anchor = Certificate("a.pem", "PEM " * 500)
    count = 500
    with transaction(connection):
        for number in range(count):
            gateway = replace(
                GATEWAY,
                name=f"gateway-{number}",
                user_id=f"user-{number}@example.com",
                default_email_address=f"user-{number}@example.com",
                certificate=anchor,
            )
            store.insert(gateway, "ours", CONNECTING, NOW)
    tracemalloc.start()
    try:
        snapshot = store.snapshot()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(snapshot) == count
    assert peak / count < 4096


# the file


def test_the_version_is_that_of_the_last_migration() -> None:
    numbers = [int(file.name[:4]) for file in sorted(MIGRATIONS.glob("*.sql"))]
    assert numbers == list(range(1, VERSION + 1))


def test_a_database_is_made_once(path: Path, connection: sqlite3.Connection) -> None:
    Store(connection, "local").insert(GATEWAY, "ours", CONNECTING, NOW)
    with closing(open_writable(path)) as again:
        assert len(Store(again, "local").snapshot()) == 1
        assert again.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert again.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert again.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert again.execute("PRAGMA secure_delete").fetchone() == (1,)
        assert again.execute("PRAGMA synchronous").fetchone() == (3,)


def test_reading_cannot_write(path: Path, connection: sqlite3.Connection) -> None:
    Store(connection, "local").insert(GATEWAY, "ours", CONNECTING, NOW)
    reading = open_readable(path)
    assert reading is not None
    with closing(reading), pytest.raises(sqlite3.OperationalError, match="readonly"):
        Store(reading, "local").write_password("support", b"sealed", None)


@pytest.mark.parametrize("empty", [True, False])
def test_what_is_not_there_reads_as_nothing(path: Path, *, empty: bool) -> None:
    """Also the empty file that a crash while making the database leaves behind."""
    if empty:
        path.touch()
    assert open_readable(path) is None
    assert path.exists() is empty


def test_an_earlier_version_is_read_from_a_migrated_copy(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with closing(open_writable(path)) as connection:
        Store(connection, "local").insert(GATEWAY, "ours", CONNECTING, NOW)
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    for file in MIGRATIONS.glob("*.sql"):
        (migrations / file.name).write_text(file.read_text())
    (migrations / f"{VERSION + 1:04}_next.sql").write_text(
        "-- a comment; with a semicolon\nUPDATE gateways SET port = 2525;\nCREATE TABLE t (a);\n"
    )
    monkeypatch.setattr("reconciler.service.upgrade.MIGRATIONS", migrations)
    for module in ("database", "upgrade"):
        monkeypatch.setattr(f"reconciler.service.{module}.VERSION", VERSION + 1)
    before = path.read_bytes()
    reading = open_readable(path)
    assert reading is not None
    with closing(reading):
        assert Store(reading, "local").snapshot()[0].gateway.port == 2525
    assert path.read_bytes() == before
    with closing(open_writable(path)) as writing:
        assert Store(writing, "local").snapshot()[0].gateway.port == 2525


def test_a_migration_is_carried_out_whole_or_not_at_all(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    open_writable(path).close()
    (tmp_path / f"{VERSION + 1:04}_bad.sql").write_text("CREATE TABLE t (a);\nNO SQL AT ALL;\n")
    monkeypatch.setattr("reconciler.service.upgrade.MIGRATIONS", tmp_path)
    monkeypatch.setattr("reconciler.service.upgrade.VERSION", VERSION + 1)
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        open_writable(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 't'")
        assert tables.fetchone() == (0,)


def _newer(path: Path) -> None:
    with closing(open_writable(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def _another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def _text_file(path: Path) -> None:
    path.write_text("owner: acme\n" * 100)


def _truncated(path: Path) -> None:
    open_writable(path).close()
    path.write_bytes(path.read_bytes()[:5000])


def _flipped(path: Path) -> None:
    open_writable(path).close()
    content = bytearray(path.read_bytes())
    content[100:200] = bytes(100)
    path.write_bytes(content)


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (_newer, "a newer version of this program made it", "update this program"),
        (_another_program, "belongs to another program", "another file as `database`"),
        (_text_file, "damaged, or not a database", "restore a backup"),
        (_truncated, "damaged, or not a database", "restore a backup"),
        (_flipped, "damaged, or not a database", "restore a backup"),
        (_folder, "is not a file", "another database"),
    ],
)
def test_what_is_refused_is_left_as_it_was(
    path: Path, make: Callable[[Path], None], message: str, hint: str
) -> None:
    """G27."""
    make(path)
    before = path.read_bytes() if path.is_file() else b""

    def use(opened: sqlite3.Connection | None) -> None:
        assert opened is not None
        with translated(path), closing(opened):
            Store(opened, "local").snapshot()

    for opening in (open_readable, open_writable):
        with pytest.raises(PlatformUnavailable, match=message) as caught:
            use(opening(path))
        assert hint in caught.value.hint
        assert str(path) in caught.value.message
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "DELETE"),
        ((3, 44, 5), "DELETE"),
        ((3, 44, 6), "WAL"),
        ((3, 45, 0), "DELETE"),
        ((3, 50, 6), "DELETE"),
        ((3, 50, 7), "WAL"),
        ((3, 51, 2), "DELETE"),
        ((3, 51, 3), "WAL"),
        ((3, 52, 0), "WAL"),
        ((4, 0, 0), "WAL"),
    ],
)
def test_the_log_is_used_where_it_is_sound(version: tuple[int, ...], mode: str) -> None:
    assert journal_mode(version) == mode


def test_a_database_changes_between_the_journals(path: Path) -> None:
    """A newer SQLite elsewhere may have left it in the other mode."""
    for mode in ("WAL", "DELETE", "WAL"):
        with closing(open_writable(path, journal=mode)) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == (mode.lower(),)
        reading = open_readable(path)
        assert reading is not None
        reading.close()


def test_what_is_erased_leaves_the_write_ahead_log_too(path: Path) -> None:
    with closing(open_writable(path, journal="WAL")) as connection:
        store = Store(connection, "local")
        with transaction(connection):
            store.insert(GATEWAY, "ours", CONNECTING, NOW)
            store.write_password("support", b"sealed canary", Fingerprint("key", "canary"))

        def files() -> bytes:
            return b"".join(file.read_bytes() for file in path.parent.iterdir())

        assert b"canary" in files()
        with transaction(connection):
            store.write_password("support", None, None)
        empty_log(connection)
        assert b"canary" not in files()


def test_a_writer_that_waits_too_long_is_told(path: Path, connection: sqlite3.Connection) -> None:
    """G26."""
    with closing(open_writable(path)) as other:
        other.execute("PRAGMA busy_timeout = 50")
        with (
            transaction(connection),
            pytest.raises(PlatformUnavailable, match="another program keeps it locked"),
            translated(path),
            transaction(other),
        ):
            pytest.fail("two write at once")


def test_a_mistake_in_our_sql_is_not_taken_for_a_fault_of_the_file(
    path: Path, connection: sqlite3.Connection
) -> None:
    with pytest.raises(sqlite3.OperationalError), translated(path):
        connection.execute("SELECT nonsense")


def test_a_full_disk_is_named(path: Path) -> None:
    with pytest.raises(PlatformUnavailable, match="No space left on device"), translated(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_many_may_make_the_same_database_at_once(tmp_path: Path) -> None:
    """None takes the half-made file of another for a stranger's."""
    for number in range(20):
        path = tmp_path / f"{number}.db"
        with ThreadPoolExecutor(6) as threads:
            opened = list(threads.map(open_writable, [path] * 6))
        for connection in opened:
            assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
            connection.close()
