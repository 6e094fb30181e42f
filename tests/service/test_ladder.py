"""The connection ladder: which rung, which field, and that it is what a session does."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model import EncryptionMode, Ladder, ProtocolType, Secret
from reconciler.service.ladder import RUNGS, climb
from reconciler.service.sessions import SessionError, session_for
from reconciler.service.sessions.base import Phase
from tests.rig import MailRig
from tests.rig.certificates import Authority
from tests.rig.faces import EXPIRED, NO_STARTTLS, OTHER_NAME
from tests.rig.gateways import (
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
from tests.rig.scripted import scripted
from tests.rig.tap import tapped
from tests.service.dialogues import GREETING, LOGIN, PLAIN, dialogue

Way = tuple[ProtocolType, EncryptionMode]
every_way = pytest.mark.parametrize("way", EVERY_WAY, ids=" ".join)


def now() -> datetime:
    return datetime.now(UTC)


def states(ladder: Ladder) -> str:
    """One letter a rung: o(k), w(arning), f(ailed), s(kipped)."""
    assert [rung.name for rung in ladder.rungs] == list(RUNGS)
    return "".join(rung.state[0] for rung in ladder.rungs)


@pytest.mark.interop
@every_way
async def test_to_the_top(rig: MailRig, way: Way) -> None:
    gateway = make_gateway(*way, rig.ports[PORTS[way]], anchor=rig.authority.certificate)
    ladder = await climb(gateway, PASSWORD, now=now())
    # the rig's certificates expire in less than 30 days: 29 and some hours
    assert states(ladder) == ("oossoo" if way[1] is NONE else "ooowoo")
    assert ladder.reached_the_top
    assert ladder.gateway == "support"


@pytest.mark.interop
@every_way
async def test_without_login_nothing_secret_is_sent(rig: MailRig, way: Way) -> None:
    async with tapped(rig.ports[PORTS[way]]) as tap:
        gateway = make_gateway(*way, tap.port, anchor=rig.authority.certificate)
        ladder = await climb(gateway, PASSWORD, up_to=Phase.CAPABILITIES, now=now())
    assert states(ladder) == ("oossos" if way[1] is NONE else "ooowos")
    assert ladder.reached_the_top
    assert b"AUTH PLAIN " not in tap.sent
    assert PLAIN not in tap.sent


@pytest.mark.interop
@pytest.mark.parametrize(("days", "state"), [(-60, "o"), (-1, "o"), (1, "w"), (28, "w")])
async def test_expiry_is_measured_from_now(rig: MailRig, days: int, state: str) -> None:
    gateway = make_gateway(IMAP, TLS, rig.ports["imaps"], anchor=rig.authority.certificate)
    ladder = await climb(gateway, None, up_to=Phase.CAPABILITIES, now=now() + timedelta(days=days))
    assert states(ladder)[3] == state
    assert f"in {29 - days} days" in ladder.rungs[3].detail


@pytest.mark.interop
@pytest.mark.parametrize(
    ("way", "changes", "expected"),
    [
        ((IMAP, TLS), {"host": "no-such-host.invalid"}, ("fsssss", "dns", "host")),
        ((IMAP, TLS), {"port": 0}, ("ofssss", "tcp", "port")),
        ((IMAP, TLS), {"host": OTHER_NAME}, ("oofsss", "tls", "host")),
        ((SMTP, TLS), {"host": EXPIRED}, ("oofsss", "tls", "host")),
        ((POP3, TLS), {"anchor": Authority().certificate}, ("oofsss", "tls", "certificate_file")),
        ((SMTP, STARTTLS), {"host": NO_STARTTLS}, ("oofsss", "protocol", "encryption_mode")),
        (
            (POP3, NONE),
            {"authentication_flag": False},
            ("oossfs", "protocol", "authentication_flag"),
        ),
        ((IMAP, TLS), {"user_id": "nobody@example.test"}, ("ooowof", "auth", "user_password")),
    ],
)
async def test_stops_at_the_first_rung_that_fails(
    rig: MailRig, way: Way, changes: dict[str, str], expected: tuple[str, str, str]
) -> None:
    fields = {"port": rig.ports[PORTS[way]], "anchor": rig.authority.certificate, **changes}
    fields["port"] = fields["port"] or free_ports(["absent"])["absent"]
    gateway = make_gateway(*way, **fields)  # type: ignore[arg-type]
    ladder = await climb(gateway, PASSWORD, now=now())
    assert ladder.failure
    assert (states(ladder), ladder.failure.kind, ladder.failure.field) == expected
    failed = next(rung for rung in ladder.rungs if rung.state == "failed")
    assert failed.detail == ladder.failure.message
    with pytest.raises(SessionError) as caught:  # a session says the same
        await session_for(gateway, PASSWORD).open()
    assert caught.value.failure == ladder.failure


@pytest.mark.interop
async def test_smtp_without_authentication_skips_the_login(rig: MailRig) -> None:
    gateway = make_gateway(SMTP, NONE, rig.ports["smtp"], authentication_flag=False)
    ladder = await climb(gateway, None, now=now())
    assert states(ladder) == "oossos"
    assert ladder.reached_the_top


@pytest.mark.interop
async def test_no_password_fails_at_the_login(rig: MailRig) -> None:
    ladder = await climb(make_gateway(SMTP, NONE, rig.ports["smtp"]), None, now=now())
    assert states(ladder) == "oossof"
    assert ladder.failure
    assert ladder.failure.field == "user_password"


@pytest.mark.parametrize("protocol", [SMTP, IMAP, POP3])
async def test_logs_in_once_and_tells_what_is_transient(protocol: ProtocolType) -> None:
    refusal = {SMTP: b"454 x\r\n", IMAP: b"a2 NO [LIMIT] x\r\n", POP3: b"-ERR [IN-USE] x\r\n"}
    with scripted(dialogue(GREETING[protocol], LOGIN[protocol], refusal[protocol])) as server:
        gateway = make_gateway(protocol, NONE, server.port, host="127.0.0.1")
        ladder = await climb(gateway, Secret("pw-alice"), now=now())
        assert server.plain.count(PLAIN) == 1
    assert states(ladder) == "oossof"
    assert ladder.transient


async def test_slow_rung_is_measured_and_has_a_deadline() -> None:
    with scripted(lambda _peer: None) as server:
        gateway = make_gateway(IMAP, NONE, server.port, host="127.0.0.1")
        ladder = await climb(gateway, None, now=now(), settings=HASTY)
    assert states(ladder) == "oossfs"
    assert ladder.failure
    assert ladder.failure.kind == "timeout"
    assert ladder.rungs[4].milliseconds >= 350
    assert ladder.rungs[5].detail == "not tried"
