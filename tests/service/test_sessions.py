"""Sessions against Postfix and Dovecot: every protocol, every encryption mode, every fault."""

from time import perf_counter
from typing import Any

import pytest

from reconciler.model import EncryptionMode, FailureKind, Gateway, ProtocolType, Secret
from reconciler.service.sessions import SessionError, SessionSettings, session_for
from tests.rig import MailRig
from tests.rig.certificates import DAY, Authority
from tests.rig.faces import EXPIRED, NO_STARTTLS, OTHER_NAME, SELF_SIGNED
from tests.rig.gateways import (
    ENCRYPTED,
    EVERY_WAY,
    HASTY,
    IMAP,
    NONE,
    PASSWORD,
    POP3,
    PORTS,
    SMTP,
    STARTTLS,
    TLS,
    make_gateway,
)
from tests.rig.ports import free_ports

pytestmark = pytest.mark.interop

Way = tuple[ProtocolType, EncryptionMode]

every_way = pytest.mark.parametrize("way", EVERY_WAY, ids=" ".join)
every_encrypted_way = pytest.mark.parametrize("way", ENCRYPTED, ids=" ".join)
every_protocol = pytest.mark.parametrize("protocol", [SMTP, IMAP, POP3])


def gateway_on(rig: MailRig, way: Way, *, port: str | None = None, **changes: Any) -> Gateway:
    protocol, encryption = way
    anchor = None if encryption is NONE else rig.authority.certificate
    number = rig.ports[port or PORTS[way]]
    return make_gateway(protocol, encryption, number, **{"anchor": anchor, **changes})


async def refused(
    gateway: Gateway, password: Secret | None = PASSWORD, settings: SessionSettings | None = None
) -> SessionError:
    session = session_for(gateway, password, settings)
    with pytest.raises(SessionError) as caught:
        await session.open()
    assert not session.wire.usable
    return caught.value


def blame(error: SessionError) -> tuple[str, str | None]:
    return error.failure.kind.value, error.failure.field


async def open_and_close(gateway: Gateway, password: Secret = PASSWORD) -> None:
    session = session_for(gateway, password)
    await session.open()
    await session.keep_alive()
    await session.close()


@every_way
async def test_opens_stays_alive_and_closes(rig: MailRig, way: Way) -> None:
    await open_and_close(gateway_on(rig, way))


@every_way
async def test_wrong_password_is_an_auth_failure(rig: MailRig, way: Way) -> None:
    error = await refused(gateway_on(rig, way), Secret("pw-wrong"))
    assert blame(error) == ("auth", "user_password")
    assert not error.transient
    assert "pw-wrong" not in str(error.failure)


@every_encrypted_way
async def test_unknown_authority_blames_the_certificate_file(rig: MailRig, way: Way) -> None:
    error = await refused(gateway_on(rig, way, anchor=Authority("Another root").certificate))
    assert blame(error) == ("tls", "certificate_file")
    assert "certs/root.pem" in error.failure.message


@every_encrypted_way
async def test_certificate_for_another_name_blames_the_host(rig: MailRig, way: Way) -> None:
    assert blame(await refused(gateway_on(rig, way, host=OTHER_NAME))) == ("tls", "host")


@every_encrypted_way
async def test_expired_server_certificate_blames_the_host(rig: MailRig, way: Way) -> None:
    error = await refused(gateway_on(rig, way, host=EXPIRED))
    assert blame(error) == ("tls", "host")
    assert "expired" in error.failure.message


@every_encrypted_way
async def test_self_signed_certificate_is_not_trusted(rig: MailRig, way: Way) -> None:
    error = await refused(gateway_on(rig, way, host=SELF_SIGNED))
    assert blame(error) == ("tls", "certificate_file")


@pytest.mark.parametrize("host", [SELF_SIGNED, "localhost"])
@every_encrypted_way
async def test_servers_own_certificate_can_be_pinned(rig: MailRig, way: Way, host: str) -> None:
    file = "127.0.0.1" if host == "localhost" else host
    pinned = (rig.folder / f"{file}.pem").read_text()
    await open_and_close(gateway_on(rig, way, host=host, anchor=pinned))


@every_encrypted_way
async def test_pinning_does_not_excuse_expiry(rig: MailRig, way: Way) -> None:
    pinned = (rig.folder / f"{EXPIRED}.pem").read_text()
    error = await refused(gateway_on(rig, way, host=EXPIRED, anchor=pinned))
    assert blame(error) == ("tls", "certificate_file")


@every_encrypted_way
async def test_a_second_anchor_in_the_file_is_as_good(rig: MailRig, way: Way) -> None:
    both = Authority("Old root", valid=(-9 * DAY, -DAY)).certificate + rig.authority.certificate
    await open_and_close(gateway_on(rig, way, anchor=both))


@every_encrypted_way
async def test_file_without_certificate_is_blamed_before_contact(rig: MailRig, way: Way) -> None:
    error = await refused(gateway_on(rig, way, anchor="no certificate"))
    assert blame(error) == ("tls", "certificate_file")


@every_encrypted_way
async def test_missing_certificate_is_blamed(rig: MailRig, way: Way) -> None:
    error = await refused(gateway_on(rig, way, anchor=None))
    assert blame(error) == ("tls", "certificate_file")


@every_protocol
async def test_starttls_that_is_not_offered_fails(rig: MailRig, protocol: ProtocolType) -> None:
    error = await refused(gateway_on(rig, (protocol, STARTTLS), host=NO_STARTTLS))
    assert blame(error) == ("protocol", "encryption_mode")
    assert "does not offer" in error.failure.message


@every_protocol
async def test_tls_on_a_plain_port_says_starttls(rig: MailRig, protocol: ProtocolType) -> None:
    port = PORTS[protocol, STARTTLS]
    error = await refused(gateway_on(rig, (protocol, TLS), port=port))
    assert blame(error) == ("tls", "encryption_mode")
    assert "STARTTLS" in error.failure.hint


@pytest.mark.parametrize("encryption", [NONE, STARTTLS])
@every_protocol
async def test_plain_text_on_a_tls_port_times_out(
    rig: MailRig, protocol: ProtocolType, encryption: EncryptionMode
) -> None:
    gateway = gateway_on(rig, (protocol, encryption), port=PORTS[protocol, TLS])
    error = await refused(gateway, settings=HASTY)
    assert blame(error) == ("timeout", "port")
    assert error.transient


@pytest.mark.parametrize(
    ("protocol", "other", "name"),
    [
        (SMTP, "imap", "an IMAP server"),
        (SMTP, "pop3", "a POP3 server"),
        (IMAP, "smtp", "an SMTP server"),
        (IMAP, "pop3", "a POP3 server"),
        (POP3, "smtp", "an SMTP server"),
        (POP3, "imap", "an IMAP server"),
    ],
)
async def test_server_of_another_protocol_is_named(
    rig: MailRig, protocol: ProtocolType, other: str, name: str
) -> None:
    error = await refused(gateway_on(rig, (protocol, NONE), port=other))
    assert blame(error) == ("protocol", "port")
    assert f"is {name}, not one for {protocol}" in error.failure.message


@every_way
async def test_absent_server_blames_the_port(rig: MailRig, way: Way) -> None:
    absent = free_ports(["absent"])["absent"]
    anchor = rig.authority.certificate
    error = await refused(make_gateway(*way, absent, anchor=anchor))
    assert blame(error) == ("tcp", "port")
    assert error.transient


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".example.test"])
async def test_unknown_host_is_a_dns_failure(rig: MailRig, host: str) -> None:
    error = await refused(gateway_on(rig, (IMAP, TLS), host=host))
    assert blame(error) == ("dns", "host")


@every_way
async def test_no_password_is_an_auth_failure(rig: MailRig, way: Way) -> None:
    assert blame(await refused(gateway_on(rig, way), None)) == ("auth", "user_password")


@every_protocol
async def test_without_authentication_only_smtp_opens(rig: MailRig, protocol: ProtocolType) -> None:
    gateway = gateway_on(rig, (protocol, TLS), authentication_flag=False)
    if protocol is SMTP:
        await open_and_close(gateway)
    else:
        assert blame(await refused(gateway)) == ("protocol", "authentication_flag")


async def test_smtp_login_that_is_offered_only_under_tls(rig: MailRig) -> None:
    error = await refused(gateway_on(rig, (SMTP, NONE), port="submission"))
    assert blame(error) == ("protocol", "encryption_mode")


async def test_closing_gives_the_mailbox_lock_back_at_once(rig: MailRig) -> None:
    gateway = gateway_on(rig, (POP3, TLS), user_id="bob@example.test")
    password = Secret(rig.users["bob@example.test"])
    started = perf_counter()
    for _ in range(3):
        await open_and_close(gateway, password)
    assert perf_counter() - started < 5  # a lock that is held costs ten seconds each


async def test_imap_knows_its_inbox(rig: MailRig) -> None:
    session = session_for(gateway_on(rig, (IMAP, TLS)), PASSWORD)
    await session.open()
    await session.close()
    inbox = session.inbox  # type: ignore[attr-defined]
    assert inbox.uid_validity > 0
    assert inbox.uid_next > 0


@every_way
async def test_session_lost_is_told_and_transient(rig: MailRig, way: Way) -> None:
    session = session_for(gateway_on(rig, way), PASSWORD)
    await session.open()
    stream = session.wire._stream
    assert stream
    stream._socket.shutdown(2)
    with pytest.raises(SessionError) as caught:
        await session.keep_alive()
    assert caught.value.failure.kind is FailureKind.TCP
    assert caught.value.transient
    await session.close()


@every_way
async def test_close_is_harmless_at_any_time(rig: MailRig, way: Way) -> None:
    session = session_for(gateway_on(rig, way), PASSWORD)
    await session.close()
    session = session_for(gateway_on(rig, way), PASSWORD)
    await session.open()
    await session.close()
    await session.close()
