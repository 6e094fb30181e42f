"""Passwords at rest: what is sealed for one gateway opens for that one alone."""

import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.errors import PlatformUnavailable
from reconciler.model import Secret
from reconciler.service.vault import Binding, Vault

BINDING = Binding("local", "support-in", "mail.example.com")
PASSWORD = Secret("pässword \u0000 7")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    made = Vault(tmp_path / "platform.db", {})
    made.unlock(None)
    return made


def test_a_password_comes_back(vault: Vault) -> None:
    sealed = vault.seal(PASSWORD, BINDING)
    assert vault.open(sealed, BINDING) == PASSWORD
    assert PASSWORD.reveal().encode() not in sealed


def test_no_two_sealings_are_equal(vault: Vault) -> None:
    assert vault.seal(PASSWORD, BINDING) != vault.seal(PASSWORD, BINDING)


@pytest.mark.parametrize(
    "other",
    [
        replace(BINDING, tenant="another"),
        replace(BINDING, gateway="support-out"),
        replace(BINDING, host="mail.example.org"),
        # the same letters, shifted from one part into the next
        Binding("local", "support-inmail", ".example.com"),
    ],
)
def test_it_opens_for_nothing_else(vault: Vault, other: Binding) -> None:
    """A36."""
    sealed = vault.seal(PASSWORD, BINDING)
    with pytest.raises(PlatformUnavailable, match="was not stored for it") as caught:
        vault.open(sealed, other)
    assert PASSWORD.reveal() not in str(caught.value) + caught.value.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_one_altered_byte_is_noticed(vault: Vault, data: st.DataObject) -> None:
    sealed = bytearray(vault.seal(PASSWORD, BINDING))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PlatformUnavailable):
        vault.open(bytes(sealed), BINDING)


@pytest.mark.parametrize("length", [0, 1, 12, 13, 20])
def test_a_cut_one_is_noticed(vault: Vault, length: int) -> None:
    with pytest.raises(PlatformUnavailable):
        vault.open(vault.seal(PASSWORD, BINDING)[:length], BINDING)


def test_the_key_is_made_once_and_for_its_user_alone(tmp_path: Path) -> None:
    database = tmp_path / "platform.db"
    first, second = Vault(database, {}), Vault(database, {})
    check = first.unlock(None)
    assert second.unlock(None) == second.unlock(check) == check
    assert second.open(first.seal(PASSWORD, BINDING), BINDING) == PASSWORD
    (key,) = tmp_path.iterdir()
    assert key.name == "platform.db.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_many_that_make_the_key_at_once_have_the_same(tmp_path: Path) -> None:
    checks: list[str] = []
    start = threading.Barrier(8)

    def unlock() -> None:
        vault = Vault(tmp_path / "platform.db", {})
        start.wait()
        checks.append(vault.unlock(None))

    threads = [threading.Thread(target=unlock) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(checks) == 8
    assert len(set(checks)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["platform.db.key"]


def test_the_key_may_lie_elsewhere(tmp_path: Path) -> None:
    Vault(tmp_path / "one.db", {}).unlock(None)
    key = (tmp_path / "one.db.key").rename(tmp_path / "key")
    check = Vault(tmp_path / "two.db", {"GATEWAYS_KEY_FILE": str(key)}).unlock(None)
    assert len(check) == 16
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("environ", [{}, {"GATEWAYS_KEY_FILE": "absent.key"}])
def test_a_missing_key_is_not_replaced(tmp_path: Path, environ: dict[str, str]) -> None:
    """Where a key was used before, or a file is named, making one would only hide the mistake."""
    vault = Vault(tmp_path / "platform.db", environ)
    with pytest.raises(PlatformUnavailable, match="there is no such file"):
        vault.unlock("0123456789abcdef")
    assert list(tmp_path.iterdir()) == []


def test_another_key_is_told(tmp_path: Path) -> None:
    check = Vault(tmp_path / "one.db", {}).unlock(None)
    with pytest.raises(PlatformUnavailable, match="not the key of this database"):
        Vault(tmp_path / "two.db", {"GATEWAYS_KEY_FILE": str(tmp_path / "one.db.key")}).unlock(
            check[::-1]
        )


@pytest.mark.parametrize("content", ["", "short", "AAAA", "*" * 44, "A" * 44])
def test_what_is_no_key_is_told(tmp_path: Path, content: str) -> None:
    key = tmp_path / "platform.db.key"
    key.write_text(content)
    key.chmod(0o600)
    with pytest.raises(PlatformUnavailable, match="does not hold 32 bytes") as caught:
        Vault(tmp_path / "platform.db", {}).unlock(None)
    assert "openssl rand -base64 32" in caught.value.hint
    assert not content or content not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o602, 0o604])
def test_a_key_for_everybody_is_refused(tmp_path: Path, mode: int) -> None:
    Vault(tmp_path / "platform.db", {}).unlock(None)
    (tmp_path / "platform.db.key").chmod(mode)
    with pytest.raises(PlatformUnavailable, match="everybody on this machine"):
        Vault(tmp_path / "platform.db", {}).unlock(None)


def test_a_login_is_named_by_a_keyed_digest(tmp_path: Path, vault: Vault) -> None:
    name = vault.credential("mail.example.com", "a@example.com", PASSWORD)
    assert name == vault.credential("mail.example.com", "a@example.com", PASSWORD)
    others = {
        vault.credential("mail.example.org", "a@example.com", PASSWORD),
        vault.credential("mail.example.com", "b@example.com", PASSWORD),
        vault.credential("mail.example.com", None, PASSWORD),
        vault.credential("mail.example.com", "a@example.com", Secret("another")),
    }
    elsewhere = Vault(tmp_path / "another.db", {})
    elsewhere.unlock(None)
    others.add(elsewhere.credential("mail.example.com", "a@example.com", PASSWORD))
    assert len(others - {name}) == 5
