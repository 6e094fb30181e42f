"""SRV, MX and addresses, asked of a real DNS server on loopback."""

import socket
import time
from collections.abc import Mapping, Sequence

import pytest

from reconciler.discovery import Findings
from reconciler.discovery.records import MOST, DnsSilent, NameServer, Records
from reconciler.model import EncryptionMode, ProtocolType
from tests.discovery import nameserver

SMTP, IMAP = ProtocolType.SMTP, ProtocolType.IMAP


async def servers(
    zone: Mapping[tuple[str, str], Sequence[str]], protocol: ProtocolType = SMTP
) -> Findings:
    with nameserver.NameServer(zone) as running:
        return await records(running).servers("acme.test", protocol)


def records(running: nameserver.NameServer, *, seconds: float = 5) -> Records:
    return Records(NameServer("127.0.0.1", running.port), seconds=seconds)


def srv(service: str) -> tuple[str, str]:
    return f"{service}._tcp.acme.test", "SRV"


async def test_the_lowest_priority_comes_first_then_the_highest_weight() -> None:
    found = await servers(
        {
            srv("_submissions"): [
                "20 0 465 last.acme.test.",
                "10 1 465 second.acme.test.",
                "10 9 4465 First.Acme.test.",
            ]
        }
    )
    assert [(one.host, one.port) for one in found.of(SMTP)] == [
        ("first.acme.test", 4465),
        ("second.acme.test", 465),
        ("last.acme.test", 465),
    ]
    assert {one.encryption for one in found.proposals} == {EncryptionMode.TLS}
    assert not any(one.authentic for one in found.proposals)


async def test_tls_comes_before_starttls_whatever_the_priority() -> None:
    found = await servers(
        {
            srv("_imap"): ["0 0 143 mail.acme.test."],
            srv("_imaps"): ["50 0 993 mail.acme.test."],
        },
        IMAP,
    )
    assert [one.encryption.value for one in found.of(IMAP)] == ["TLS", "STARTTLS"]


async def test_a_dot_says_that_there_is_none() -> None:
    found = await servers({srv("_submissions"): ["0 0 0 ."], srv("_submission"): ["0 0 0 ."]})
    assert found.proposals == ()
    assert found.absent == {SMTP}
    assert found.lacks([SMTP]) == ()
    assert "not offered" in found.notes[0]


async def test_a_dot_for_one_of_the_two_leaves_the_other() -> None:
    found = await servers(
        {srv("_submissions"): ["0 0 0 ."], srv("_submission"): ["0 0 587 mail.acme.test."]}
    )
    assert [one.port for one in found.of(SMTP)] == [587]
    assert found.absent == frozenset()


async def test_a_name_that_is_no_host_is_left_out_and_said() -> None:
    """What DNS answers is data: escapes, labels that no host has, port 0."""
    found = await servers(
        {
            srv("_submissions"): [
                "0 0 465 \\027[31mred.acme.test.",
                "1 0 0 mail.acme.test.",
                "2 0 465 good.acme.test.",
            ]
        }
    )
    assert [one.host for one in found.of(SMTP)] == ["good.acme.test"]
    assert len(found.notes) == 2
    assert "\x1b" not in "".join(found.notes)


async def test_only_so_many_answers_are_looked_at() -> None:
    many = [f"{number} 0 465 host{number}.acme.test." for number in range(30)]
    found = await servers({srv("_submissions"): many})
    assert len(found.of(SMTP)) == MOST


async def test_no_records_are_no_findings() -> None:
    found = await servers({("acme.test", "A"): ["127.0.0.1"]})
    assert found == Findings()


@pytest.mark.parametrize("silent", [True, False])
async def test_nobody_answers(silent: bool) -> None:  # noqa: FBT001
    """Neither who says nothing nor who talks nonsense holds anybody up for long."""
    started = time.monotonic()
    with (
        nameserver.NameServer({}, silent=silent, garbage=not silent) as running,
        pytest.raises(DnsSilent, match=r"acme\.test"),
    ):
        await records(running, seconds=0.4).servers("acme.test", SMTP)
    assert time.monotonic() - started < 5


async def test_mx_and_addresses() -> None:
    zone = {
        ("acme.test", "MX"): ["20 second.acme.test.", "10 First.acme.test.", "5 ."],
        ("mail.acme.test", "A"): ["127.0.0.9"],
        ("mail.acme.test", "AAAA"): ["::1"],
    }
    with nameserver.NameServer(zone) as running:
        asked = records(running)
        assert await asked.exchanges("acme.test") == ("first.acme.test", "second.acme.test")
        assert await asked.addresses("mail.acme.test") == (
            (socket.AF_INET6, "::1"),
            (socket.AF_INET, "127.0.0.9"),
        )
        assert await asked.addresses("nowhere.acme.test") == ()


async def test_names_are_asked_for_as_they_are() -> None:
    """No search list of this machine is added to them."""
    with nameserver.NameServer({}) as running:
        await records(running).exchanges("acme")
        assert running.asked == [("acme", "MX")]
