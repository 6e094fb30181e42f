"""Another key for the passwords at rest: for all of them, or for none."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.clock import now
from reconciler.errors import Sealed
from reconciler.model import Secret
from reconciler.service.database import open_writable
from reconciler.service.mail.webhook_store import Webhooks
from reconciler.service.rekey import rekey
from reconciler.service.store import Store
from reconciler.service.upgrade import transaction
from reconciler.service.vault import KEY_VARIABLE, Binding, Vault
from tests.cli.served import CHECKOUT, served
from tests.service.fleet import TENANT, create, far_away, service_on
from tests.service.test_crash import strace

NAMES = [f"gateway-{number:02}" for number in range(30)]
PASSWORD = Secret("password of gateway-00")
URL = "https://example.com/"
SECONDS = 60.0


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """With passwords, a webhook's secret and refused logins, all under the key in `old.key`."""
    async with service_on(tmp_path) as service:
        for name in NAMES:
            await create(service, far_away(name, f"password of {name}"))
        await create(service, far_away("without", None))

        def more(connection: sqlite3.Connection) -> None:
            Webhooks(connection, TENANT, service.vault, now).register(URL, None)
            store = Store(connection, TENANT)
            credential = service.vault.credential("mail.invalid", "alice", PASSWORD)
            for _ in range(3):
                store.count_refusal(credential, NAMES[0], "now")

        await service.write(more)
    (tmp_path / "platform.db.key").rename(tmp_path / "old.key")
    return tmp_path / "platform.db"


def vaults(database: Path) -> tuple[Vault, Vault]:
    old = Vault(database, {KEY_VARIABLE: str(database.with_name("old.key"))})
    return old, Vault(database, {})


def opened(database: Path, vault: Vault) -> int:
    """How many of the passwords a key opens, each of which must be the right one."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store = Store(connection, TENANT)
        try:
            vault.unlock(store.key_check())
        except Sealed:
            return 0
        found = 0
        for name in NAMES:
            sealed = store.password(name)
            assert sealed
            password = vault.open(sealed, Binding(TENANT, name, "mail.invalid"))
            assert password.reveal() == f"password of {name}"
            found += 1
        return found


def test_everything_opens_with_the_new_key_and_nothing_with_the_old(database: Path) -> None:
    """G37: asked for once more it does nothing."""
    old, new = vaults(database)
    with closing(open_writable(database)) as connection:
        (webhook,) = Webhooks(connection, TENANT, old, now).listed()
        before = [key.reveal() for key in Webhooks(connection, TENANT, old, now).keys(webhook)]
        for done in (len(NAMES) + 1, 0):
            with transaction(connection):
                assert rekey(connection, old, new) == done
        old, new = vaults(database)
        after = [key.reveal() for key in Webhooks(connection, TENANT, new, now).keys(webhook)]
        assert after == before
        # a login that was refused too often stays so
        credential = new.credential("mail.invalid", "alice", PASSWORD)
        assert Store(connection, TENANT).refused_logins(credential) == 3
    assert (opened(database, new), opened(database, old)) == (len(NAMES), 0)


def test_a_row_that_was_altered_does_not_stop_the_others(database: Path) -> None:
    with closing(open_writable(database)) as connection, transaction(connection):
        connection.execute("UPDATE gateways SET password = x'00' WHERE name = 'without'")
        assert rekey(connection, *vaults(database)) == len(NAMES) + 1
    assert opened(database, vaults(database)[1]) == len(NAMES)


@pytest.mark.parametrize("wrong", ["another", "absent", "no key"])
def test_a_wrong_old_key_changes_nothing(database: Path, wrong: str) -> None:
    given = database.with_name("given.key")
    if wrong == "another":
        Vault(given.with_suffix(""), {}).unlock(None)
    elif wrong == "no key":
        given.write_text("hello")
        given.chmod(0o600)
    with (
        closing(open_writable(database)) as connection,
        pytest.raises(Sealed, match=given.name),
        transaction(connection),
    ):
        rekey(connection, Vault(database, {KEY_VARIABLE: str(given)}), vaults(database)[1])
    assert opened(database, vaults(database)[0]) == len(NAMES)
    assert not database.with_name("platform.db.key").exists()


REKEY = """
from pathlib import Path
from reconciler.service.database import open_writable
from reconciler.service.rekey import rekey
from reconciler.service.upgrade import transaction
from tests.service.test_rekey import vaults
database = Path("platform.db")
connection = open_writable(database)
with transaction(connection):
    print(rekey(connection, *vaults(database)))
"""


@pytest.mark.interop("strace")
@pytest.mark.usefixtures("database")
def test_killed_anywhere_one_of_the_keys_opens_all_of_them(tmp_path: Path) -> None:
    """G37."""
    environment = {"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"}
    counts = {}
    for which in (1, 10, 20, 32, 10_000):
        folder = tmp_path / str(which)
        folder.mkdir()
        for name in ("platform.db", "old.key"):
            shutil.copy(tmp_path / name, folder / name)
        done = subprocess.run(
            [
                *strace(f"inject=pwrite64:signal=KILL:when={which}", tmp_path / "log"),
                *(sys.executable, "-c", REKEY),
            ],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        old, new = vaults(folder / "platform.db")
        counts[which] = (opened(folder / "platform.db", old), opened(folder / "platform.db", new))
        assert (done.returncode == 0) is (which == 10_000)
    whole = len(NAMES)
    assert set(counts.values()) == {(whole, 0), (0, whole)}


def test_serve_does_it_before_anything_else(database: Path) -> None:
    """G37: with the option left in place it starts as well."""
    for done in (len(NAMES) + 1, 0):
        with served(database, "--old-key", str(database.with_name("old.key"))) as service:
            service.wait_for(rf"sealed anew with .*platform\.db\.key: {done};")
            assert service.create(service.token(), far_away(f"after-{done}")).status == 201
            assert service.end() == 0
    assert opened(database, vaults(database)[1]) == len(NAMES)
