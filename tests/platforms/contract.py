"""What every platform promises, as tests. A platform's own file gives the fixture `platforms`.

Connections are made to a real server: the demo's, which counts what reaches it.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from demo.mailserver import Faults, MailServer
from reconciler.errors import AlreadyThere, Blocked, GatewaysError, Locked, RevisionMoved
from reconciler.model import (
    Actor,
    ActualGateway,
    Cause,
    Certificate,
    DesiredGateway,
    EncryptionMode,
    FailureKind,
    FieldChange,
    Fingerprint,
    Gateway,
    Place,
    ProtocolType,
    ReceiveFrom,
    Secret,
    SecretChange,
    SecretState,
    State,
    StatusState,
    WhenFailed,
)
from reconciler.platforms import HISTORY_KEPT, Platform, Write
from tests import certs

USER = "agent@example.com"
PASSWORD = "correct horse battery"
KEY = Secret("a key for fingerprints")
ACTOR = Actor("alice", "c0ffee", "run-1")
SECONDS = 20.0

Platforms = Callable[..., Platform]
"""Opens the platform under test: `platforms(owner="…")`, the same gateways each time."""

_numbers = itertools.count(1)


def write(revision: str | None = None, *, key: str | None = None) -> Write:
    return Write(ACTOR, key or f"write-{next(_numbers)}", revision)


def wanted(gateway: Gateway, password: str | None = PASSWORD, **fields: Any) -> DesiredGateway:
    secret = Secret(password) if password is not None else None
    fingerprint = (
        Fingerprint.of(secret, KEY, target="local", gateway=gateway.name) if secret else None
    )
    return DesiredGateway(
        gateway,
        lambda: Place("gateways.d/support.yaml"),
        secret="support" if secret else None,
        password=secret,
        fingerprint=fingerprint,
        **fields,
    )


def on(server: MailServer, name: str = "support-out", **fields: Any) -> Gateway:
    """A gateway on the test's mail server; SMTP without encryption, unless told otherwise."""
    protocol = fields.pop("protocol_type", ProtocolType.SMTP)
    mode = fields.pop("encryption_mode", EncryptionMode.NONE)
    anchor = Certificate("certs/root.pem", server.ca_file.read_text())
    return Gateway(
        name,
        protocol,
        "127.0.0.1",
        server.port(protocol, mode),
        encryption_mode=mode,
        certificate=None if mode is EncryptionMode.NONE else anchor,
        **{"user_id": USER, "default_email_address": USER, **fields},
    )


async def only(platform: Platform) -> ActualGateway:
    (gateway,) = (await platform.read()).gateways
    return gateway


async def connected(platform: Platform, desired: DesiredGateway) -> ActualGateway:
    """Create the gateway and wait until it has connected."""
    await platform.create(desired, write())
    actual = await platform.settle(desired.gateway.name, seconds=SECONDS)
    assert actual.status.state is StatusState.SUCCEEDED, actual.status
    return actual


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the server counts, and tells nobody
        await asyncio.sleep(0.01)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer({USER: PASSWORD, "other@example.com": PASSWORD}) as running:
        yield running


class PlatformContract:
    """Every platform passes these."""

    @pytest.fixture
    async def platform(self, platforms: Platforms) -> Platform:
        return platforms()

    # reading

    async def test_begins_empty(self, platform: Platform) -> None:
        assert (await platform.read()).gateways == ()

    async def test_reads_every_field_back(self, platform: Platform) -> None:
        everything = Gateway(
            "support.in_1",
            ProtocolType.POP3,
            "mail.example.com",
            1110,
            user_id="zoë@example.com",
            default_email_address="support@example.com",
            default_user_name='Doe, "J"',
            authentication_flag=False,
            encoding_mode="GB18030",
            encryption_mode=EncryptionMode.STARTTLS,
            certificate=Certificate("certs/a.pem", certs.ca().pem.decode()),
            case_sensitivity=True,
            receive_from=ReceiveFrom.ALL,
            state=State.DISCONNECTED,
            when_failed=WhenFailed.IGNORE,
            protect=True,
            labels=(("env", "production"), ("team", "ünï")),
        )
        bare = Gateway(
            "bare",
            ProtocolType.IMAP,
            "mail.example.com",
            143,
            authentication_flag=False,
            encryption_mode=EncryptionMode.NONE,
        )
        answer = await platform.create(wanted(everything), write())
        await platform.create(wanted(bare, None), write())
        first, second = (await platform.read()).gateways
        assert (first.gateway, second.gateway) == (bare, everything)
        assert (first.applied, second.applied) == (bare, everything)
        assert (first.has_password, second.has_password) == (False, True)
        assert second.fingerprint == wanted(everything).fingerprint
        assert second.owner == "ours"
        assert second == answer

    async def test_reads_sorted_by_name(self, platform: Platform, server: MailServer) -> None:
        for name in ("b", "a", "Z", "a.1", "0"):
            await platform.create(wanted(on(server, name)), write())
        names = [one.gateway.name for one in (await platform.read()).gateways]
        assert names == sorted(names)

    async def test_a_refresh_logs_in_and_stores_nothing(
        self, platform: Platform, server: MailServer
    ) -> None:
        before = await connected(platform, wanted(on(server)))
        idle = on(server, "idle", state=State.DISCONNECTED)
        await platform.create(wanted(idle), write())
        server.faults = Faults(hide_login=True)
        _, seen = (await platform.read(refresh=True)).gateways
        assert (seen.status.state, seen.gateway) == (StatusState.FAILED, before.gateway)
        assert (await platform.read()).gateways[1] == before
        server.faults = Faults()
        logins = server.counters.logins_ok
        untouched, seen = (await platform.read(refresh=True)).gateways
        assert seen.status.state is StatusState.SUCCEEDED
        assert untouched.status.state is StatusState.DISCONNECTED
        assert server.counters.logins_ok == logins + 1

    # create, and what becomes of the connection

    @pytest.mark.parametrize("mode", list(EncryptionMode))
    @pytest.mark.parametrize("protocol", list(ProtocolType))
    async def test_create_then_settle_connects(
        self, platform: Platform, server: MailServer, protocol: ProtocolType, mode: EncryptionMode
    ) -> None:
        gateway = on(server, protocol_type=protocol, encryption_mode=mode)
        created = await platform.create(wanted(gateway), write())
        assert created.status.state is StatusState.CONNECTING
        settled = await platform.settle(gateway.name, seconds=SECONDS)
        assert settled.status.state is StatusState.SUCCEEDED
        assert settled.status.failure is None
        assert server.counters.logins_ok == server.counters.connections == 1
        assert (await only(platform)).status == settled.status

    async def test_without_authentication_nobody_logs_in(
        self, platform: Platform, server: MailServer
    ) -> None:
        await connected(platform, wanted(on(server, authentication_flag=False), None))
        assert server.counters.logins_ok == server.counters.logins_refused == 0

    async def test_settling_what_is_settled_makes_no_contact(
        self, platform: Platform, server: MailServer
    ) -> None:
        before = await connected(platform, wanted(on(server)))
        assert await platform.settle("support-out", seconds=SECONDS) == before
        assert server.counters.connections == 1

    async def test_created_disconnected_makes_no_connection(
        self, platform: Platform, server: MailServer
    ) -> None:
        gateway = on(server, state=State.DISCONNECTED)
        created = await platform.create(wanted(gateway), write())
        assert created.status.state is StatusState.DISCONNECTED
        assert created.status.cause is Cause.DECLARED
        settled = await platform.settle(gateway.name, seconds=SECONDS)
        assert settled.status == created.status
        assert server.counters.connections == 0

    async def test_a_wrong_password_is_blamed(self, platform: Platform, server: MailServer) -> None:
        await platform.create(wanted(on(server), "wrong"), write())
        for status in (
            (await platform.settle("support-out", seconds=SECONDS)).status,
            (await only(platform)).status,
        ):
            assert status.state is StatusState.FAILED
            assert status.failure is not None
            assert status.failure.kind is FailureKind.AUTH

    async def test_a_missing_password_is_told_without_a_contact(
        self, platform: Platform, server: MailServer
    ) -> None:
        await platform.create(wanted(on(server), None), write())
        failure = (await platform.settle("support-out", seconds=SECONDS)).status.failure
        assert failure is not None
        assert failure.field == "user_password"
        assert server.counters.connections == 0

    async def test_a_silent_server_is_a_timeout(
        self, platform: Platform, server: MailServer
    ) -> None:
        server.faults = Faults(silent=True)
        await platform.create(wanted(on(server)), write())
        failure = (await platform.settle("support-out", seconds=0.2)).status.failure
        assert failure is not None
        assert failure.kind is FailureKind.TIMEOUT

    async def test_a_busy_server_is_asked_again(
        self, platform: Platform, server: MailServer
    ) -> None:
        server.faults = Faults(busy_greeting=True)
        await platform.create(wanted(on(server)), write())
        settling = asyncio.create_task(platform.settle("support-out", seconds=SECONDS))
        await until(lambda: server.counters.connections > 0)
        server.faults = Faults()
        assert (await settling).status.state is StatusState.SUCCEEDED

    async def test_refused_logins_end_at_three(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        """Counted across commands and gateways, until user or password changes (G12, A42)."""
        gateway = on(server)
        twin = on(server, "support-in", protocol_type=ProtocolType.IMAP)
        await platforms().create(wanted(gateway, "wrong"), write())
        await platforms().create(wanted(twin, "wrong"), write())
        for _ in range(3):
            platform = platforms()
            await asyncio.gather(
                *(platform.settle(one.name, seconds=SECONDS) for one in (gateway, twin))
            )
            await platform.read(refresh=True)
            for one in (gateway, twin):
                await platform.rebuild(one.name, write())
        assert server.counters.logins_refused == 3
        parked = (await platforms().settle(gateway.name, seconds=SECONDS)).status
        assert parked.failure is not None
        assert parked.failure.kind is FailureKind.AUTH
        assert "not tried again" in parked.failure.message
        platform = platforms()
        await platform.edit(wanted(gateway), write(), reconnect=True)
        settled = await platform.settle(gateway.name, seconds=SECONDS)
        assert settled.status.state is StatusState.SUCCEEDED

    async def test_refreshes_do_not_add_up_to_a_locked_account(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        """One refusal a run and credential, three in all, and nothing of it is stored."""
        pair = (on(server), on(server, "support-in", protocol_type=ProtocolType.IMAP))
        for gateway in pair:
            await connected(platforms(), wanted(gateway))
        before = await platforms().read()
        server.accounts[USER] = "changed"
        for run in range(1, 6):
            seen = (await platforms().read(refresh=True)).gateways
            failures = [one.status.failure for one in seen]
            assert [failure and failure.kind for failure in failures] == [FailureKind.AUTH] * 2
            assert server.counters.logins_refused == min(run, 3)
            parked = [failure is not None and "--force" in failure.hint for failure in failures]
            assert parked == [run > 3] * 2
        assert await platforms().read() == before
        platform = platforms()
        await platform.rebuild("support-in", write())
        await platform.settle("support-in", seconds=SECONDS)
        assert server.counters.logins_refused == 3

    async def test_a_refresh_leaves_alone_what_was_refused_through_another_gateway(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        await connected(platforms(), wanted(on(server)))
        twin = on(server, "support-in", protocol_type=ProtocolType.IMAP)
        server.accounts[USER] = "changed"
        await platforms().create(wanted(twin), write())
        await platforms().settle(twin.name, seconds=SECONDS)
        before = await platforms().read()
        assert await platforms().read(refresh=True) == before
        assert server.counters.logins_refused == 1

    async def test_a_refresh_that_is_accepted_forgets_what_refreshes_were_refused(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        await connected(platforms(), wanted(on(server)))
        for password, refused in (("changed", 2), (PASSWORD, 2), ("changed", 4), (PASSWORD, 4)):
            server.accounts[USER] = password
            for _ in range(2):
                (seen,) = (await platforms().read(refresh=True)).gateways
                accepted = seen.status.state is StatusState.SUCCEEDED
                assert accepted is (password == PASSWORD)
            assert server.counters.logins_refused == refused

    async def test_a_refresh_makes_one_contact_for_equal_connections(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        """A success proves its own connection only."""
        for name in ("a", "b"):
            await connected(platforms(), wanted(on(server, name)))
        await connected(platforms(), wanted(on(server, "c", protocol_type=ProtocolType.IMAP)))
        logins = server.counters.logins_ok
        seen = (await platforms().read(refresh=True)).gateways
        assert {one.status.state for one in seen} == {StatusState.SUCCEEDED}
        assert server.counters.logins_ok == logins + 2

    async def test_a_parked_login_is_tried_once_more_by_force(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        """After an outage in which a server refused good passwords."""

        async def rebuilt(*, force: bool) -> ActualGateway:
            await platforms().rebuild("support-out", write(), force=force)
            return await platforms().settle("support-out", seconds=SECONDS)

        await connected(platforms(), wanted(on(server)))
        server.faults = Faults(refuse_logins=True)
        for _ in range(3):
            await rebuilt(force=False)
        failure = (await rebuilt(force=False)).status.failure
        assert failure is not None
        assert "gateways rebuild support-out --force" in failure.hint
        assert server.counters.logins_refused == 3
        await rebuilt(force=True)
        await rebuilt(force=False)
        assert server.counters.logins_refused == 4
        server.faults = Faults()
        assert (await rebuilt(force=False)).status.state is StatusState.FAILED
        assert (await rebuilt(force=True)).status.state is StatusState.SUCCEEDED
        server.faults = Faults(refuse_logins=True)
        for _ in range(4):
            await rebuilt(force=False)
        assert server.counters.logins_refused == 7

    async def test_force_ends_what_refreshes_were_refused(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        await connected(platforms(), wanted(on(server)))
        server.faults = Faults(refuse_logins=True)
        for _ in range(4):
            await platforms().read(refresh=True)
        server.faults = Faults()
        platform = platforms()
        await platform.rebuild("support-out", write(), force=True)
        settled = await platform.settle("support-out", seconds=SECONDS)
        assert settled.status.state is StatusState.SUCCEEDED
        assert server.counters.logins_refused == 3

    async def test_writes_at_once_are_all_stored(
        self, platform: Platform, server: MailServer
    ) -> None:
        """One that is refused takes none of the others with it."""
        await platform.create(wanted(on(server, "gw-07")), write())
        gateways = [wanted(on(server, f"gw-{number:02}")) for number in range(30)]
        answers = await asyncio.gather(
            *(platform.create(one, write()) for one in gateways), return_exceptions=True
        )
        refused = [one for one in answers if isinstance(one, BaseException)]
        assert [type(one) for one in refused] == [AlreadyThere]
        assert len((await platform.read()).gateways) == 30

    async def test_a_cancelled_writer_leaves_the_others_alone(
        self, platform: Platform, server: MailServer
    ) -> None:
        tasks = [
            asyncio.create_task(platform.create(wanted(on(server, f"gw-{number}")), write()))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        tasks[1].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[1], asyncio.CancelledError)
        names = [one.gateway.name for one in (await platform.read()).gateways]
        assert {"gw-0", "gw-2"} <= set(names)

    # edit

    async def test_edit_replaces_fields_and_keeps_the_connection(
        self, platform: Platform, server: MailServer
    ) -> None:
        before = await connected(platform, wanted(on(server)))
        after = replace(before.gateway, default_user_name="Support", labels=(("env", "test"),))
        async with platform.lock(ACTOR, seconds=SECONDS):  # as everybody who applies
            edited = await platform.edit(wanted(after), write(before.revision), reconnect=False)
        assert edited.gateway == edited.applied == after
        assert edited.status == before.status
        assert edited.revision != before.revision
        assert await only(platform) == edited

    async def test_edit_with_reconnect_connects_anew(
        self, platform: Platform, server: MailServer
    ) -> None:
        before = await connected(platform, wanted(on(server)))
        moved = on(server, protocol_type=ProtocolType.IMAP)
        edited = await platform.edit(wanted(moved), write(before.revision), reconnect=True)
        assert edited.status.state is StatusState.CONNECTING
        settled = await platform.settle("support-out", seconds=SECONDS)
        assert settled.status.state is StatusState.SUCCEEDED
        assert server.counters.logins_ok == 2

    async def test_edit_without_the_key_keeps_the_password(
        self, platform: Platform, server: MailServer
    ) -> None:
        before = await connected(platform, wanted(on(server)))
        unknown = wanted(replace(before.gateway, default_user_name="S"), None, password_known=False)
        edited = await platform.edit(unknown, write(), reconnect=True)
        assert edited.has_password
        assert edited.fingerprint == before.fingerprint
        settled = await platform.settle("support-out", seconds=SECONDS)
        assert settled.status.state is StatusState.SUCCEEDED

    async def test_a_kept_password_is_not_moved_to_another_host(
        self, platform: Platform, server: MailServer
    ) -> None:
        before = await connected(platform, wanted(on(server)))
        moved = wanted(
            replace(before.gateway, host="elsewhere.example"), None, password_known=False
        )
        with pytest.raises(Blocked, match="never moved to another host"):
            await platform.edit(moved, write(), reconnect=True)
        assert await only(platform) == before

    async def test_edit_to_no_password_clears_it(
        self, platform: Platform, server: MailServer
    ) -> None:
        before = await connected(platform, wanted(on(server)))
        edited = await platform.edit(wanted(before.gateway, None), write(), reconnect=False)
        assert (edited.has_password, edited.fingerprint) == (False, None)

    async def test_edit_to_disconnected_disconnects_and_back_connects(
        self, platform: Platform, server: MailServer
    ) -> None:
        before = await connected(platform, wanted(on(server)))
        off = replace(before.gateway, state=State.DISCONNECTED)
        edited = await platform.edit(wanted(off), write(), reconnect=False)
        assert edited.status.state is StatusState.DISCONNECTED
        assert edited.status.cause is Cause.DECLARED
        edited = await platform.edit(wanted(before.gateway), write(), reconnect=False)
        assert edited.status.state is StatusState.CONNECTING

    # rebuild and disconnect

    async def test_rebuild_makes_one_connection_anew(
        self, platform: Platform, server: MailServer
    ) -> None:
        """POP3 would refuse a second session on the maildrop."""
        before = await connected(platform, wanted(on(server, protocol_type=ProtocolType.POP3)))
        rebuilt = await platform.rebuild("support-out", write(before.revision))
        assert rebuilt.status.state is StatusState.CONNECTING
        settled = await asyncio.gather(
            *(platform.settle("support-out", seconds=SECONDS) for _ in range(2))
        )
        assert [one.status.state for one in settled] == [StatusState.SUCCEEDED] * 2
        assert server.counters.logins_ok == server.counters.connections == 2

    @pytest.mark.parametrize("cause", list(Cause))
    async def test_disconnect_says_why_when_and_who(
        self, platform: Platform, server: MailServer, cause: Cause
    ) -> None:
        before = await connected(platform, wanted(on(server)))
        after = await platform.disconnect("support-out", write(before.revision), cause=cause)
        assert after.status.state is StatusState.DISCONNECTED
        assert (after.status.cause, after.status.actor) == (cause, "alice")
        erased = cause is Cause.UNDECLARED
        assert after.has_password is not erased
        assert (after.fingerprint is None) is erased
        declared = cause is Cause.DECLARED
        assert (after.gateway.state is State.DISCONNECTED) is declared
        assert after.applied == after.gateway
        settled = await platform.settle("support-out", seconds=SECONDS)
        assert settled == after == await only(platform)
        assert server.counters.connections == 1

    async def test_a_disconnect_during_a_contact_stands(
        self, platform: Platform, server: MailServer
    ) -> None:
        server.faults = Faults(silent=True)
        await platform.create(wanted(on(server)), write())
        settling = asyncio.create_task(platform.settle("support-out", seconds=0.5))
        await until(lambda: server.counters.connections > 0)
        await platform.disconnect("support-out", write(), cause=Cause.BY_HAND)
        assert (await settling).status.state is StatusState.DISCONNECTED

    async def test_protection_outlives_its_declaration(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        await platforms().create(wanted(on(server, protect=True)), write())
        assert (await only(platforms())).gateway.protect

    # owners

    async def test_a_foreign_gateway_is_read_and_not_touched(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        await connected(platforms(owner="theirs"), wanted(on(server)))
        ours = platforms()
        before = await only(ours)
        assert before.owner == "theirs"
        with pytest.raises(Blocked, match="it belongs to 'theirs'") as caught:
            await ours.edit(wanted(on(server)), write(), reconnect=False)
        assert "gateways adopt support-out" in caught.value.hint
        for cause in (Cause.UNDECLARED, Cause.DECLARED, Cause.WHEN_FAILED):
            with pytest.raises(Blocked):
                await ours.disconnect("support-out", write(), cause=cause)
        assert await only(ours) == before

    async def test_adopt_takes_over_and_stores_what_is_declared(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        before = await connected(platforms(owner="theirs"), wanted(on(server)))
        ours = platforms()
        desired = wanted(replace(before.gateway, default_user_name="Support"))
        adopted = await ours.adopt(desired, write(before.revision))
        assert adopted.owner == "ours"
        assert adopted.gateway == adopted.applied == desired.gateway
        assert adopted.status == before.status
        other = await ours.adopt(wanted(desired.gateway, "another"), write(adopted.revision))
        assert other.status.state is StatusState.CONNECTING

    # history

    async def test_history_tells_who_did_what_and_no_password(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        ours, theirs = platforms(), platforms(owner="theirs")
        assert await ours.history(["support-out"]) == {}
        before = await connected(ours, wanted(on(server)))
        bob = Actor("bob", "c0ffee-dirty", "run-2")
        labelled = wanted(replace(before.gateway, labels=(("env", "test"),)), "another")
        await ours.edit(labelled, replace(write(), actor=bob), reconnect=False)
        await theirs.adopt(labelled, write())
        await theirs.disconnect("support-out", write(), cause=Cause.BY_HAND)
        await ours.create(wanted(on(server, "other")), write())
        told = await platforms().history(["support-out", "absent"])
        assert list(told) == ["support-out"]
        created, edited, adopted, disconnected = told["support-out"]
        assert (created.actor, created.commit, created.run) == ("alice", "c0ffee", "run-1")
        assert FieldChange("host", None, "127.0.0.1") in created.changes
        assert SecretChange("user_password", SecretState.SET) in created.changes
        assert (edited.actor, edited.commit, edited.action) == ("bob", "c0ffee-dirty", "edit")
        assert edited.changes == (
            FieldChange("labels", {}, {"env": "test"}),
            SecretChange("user_password", SecretState.ROTATED),
        )
        assert adopted.changes == (FieldChange("owner", "ours", "theirs"),)
        assert (disconnected.action, disconnected.changes) == ("disconnect", ())
        assert created.at <= edited.at <= adopted.at <= disconnected.at
        assert PASSWORD not in repr(told)

    async def test_history_keeps_the_latest(self, platform: Platform, server: MailServer) -> None:
        await platform.create(wanted(on(server)), write())
        for number in range(HISTORY_KEPT):
            by = replace(write(), actor=Actor(f"actor-{number}"))
            await platform.rebuild("support-out", by)
        (told,) = (await platform.history(["support-out"])).values()
        assert [one.actor for one in told] == [f"actor-{n}" for n in range(HISTORY_KEPT)]

    # revisions and repeated writes

    async def test_a_write_on_an_earlier_revision_is_refused(
        self, platform: Platform, server: MailServer
    ) -> None:
        gateway = on(server)
        stale = (await connected(platform, wanted(gateway))).revision
        await platform.edit(wanted(gateway), write(stale), reconnect=False)
        before = await only(platform)
        changed = wanted(replace(gateway, default_user_name="S"))
        writes: list[Callable[[], Awaitable[ActualGateway]]] = [
            lambda: platform.edit(changed, write(stale), reconnect=True),
            lambda: platform.adopt(changed, write(stale)),
            lambda: platform.rebuild(gateway.name, write(stale)),
            lambda: platform.disconnect(gateway.name, write(stale), cause=Cause.UNDECLARED),
            lambda: platform.create(changed, write()),
        ]
        for refused in writes:
            with pytest.raises(RevisionMoved):
                await refused()
        assert await only(platform) == before

    async def test_settling_does_not_move_the_revision(
        self, platform: Platform, server: MailServer
    ) -> None:
        created = await platform.create(wanted(on(server)), write())
        settled = await platform.settle("support-out", seconds=SECONDS)
        assert settled.revision == created.revision

    async def test_what_is_not_there_is_told(self, platform: Platform, server: MailServer) -> None:
        await platform.create(wanted(on(server)), write())
        absent = wanted(on(server, "absent"))
        writes: list[Callable[[], Awaitable[ActualGateway]]] = [
            lambda: platform.edit(absent, write("1"), reconnect=True),
            lambda: platform.adopt(absent, write("1")),
            lambda: platform.rebuild("absent", write()),
            lambda: platform.disconnect("absent", write(), cause=Cause.BY_HAND),
            lambda: platform.settle("absent", seconds=SECONDS),
        ]
        for refused in writes:
            with pytest.raises(RevisionMoved, match="'absent' is not on the platform"):
                await refused()

    async def test_a_repeated_write_gives_the_same_answer_and_writes_nothing(
        self, platforms: Platforms, server: MailServer
    ) -> None:
        platform = platforms()
        desired = wanted(on(server))
        first = await platform.create(desired, write(key="once"))
        after = await platform.rebuild("support-out", write(first.revision, key="twice"))
        settled = await platform.settle("support-out", seconds=SECONDS)
        repeated = platforms()
        assert await repeated.create(desired, write(key="once")) == first
        assert await repeated.rebuild("support-out", write(first.revision, key="twice")) == after
        assert await only(platform) == settled == replace(after, status=settled.status)

    async def test_a_key_is_good_for_one_write(
        self, platform: Platform, server: MailServer
    ) -> None:
        await platform.create(wanted(on(server)), write(key="once"))
        with pytest.raises(GatewaysError, match="used for another write"):
            await platform.create(wanted(on(server, "other")), write(key="once"))
        assert len((await platform.read()).gateways) == 1

    # the lock

    async def test_the_lock_has_one_holder(self, platforms: Platforms) -> None:
        first, second = platforms(), platforms()
        async with first.lock(ACTOR, seconds=0):
            with pytest.raises(Locked, match=r"alice \(run run-1\) holds the lock since"):
                async with second.lock(Actor("bob"), seconds=0.3):
                    pytest.fail("two hold the lock")
        async with second.lock(Actor("bob"), seconds=0):
            pass

    async def test_the_lock_is_waited_for(self, platforms: Platforms) -> None:
        first, second = platforms(), platforms()
        async with asyncio.TaskGroup() as tasks, first.lock(ACTOR, seconds=0):
            waiting = tasks.create_task(_hold(second))
            await asyncio.sleep(0.3)
            assert not waiting.done()

    async def test_the_lock_goes_however_its_holder_ends(self, platforms: Platforms) -> None:
        async def fail() -> None:
            async with platforms().lock(ACTOR, seconds=0):
                raise LookupError

        with pytest.raises(LookupError):
            await fail()
        holding = asyncio.create_task(_hold(platforms(), 60))
        await asyncio.sleep(0.3)
        holding.cancel()
        await asyncio.wait([holding])
        await _hold(platforms())

    async def test_many_at_once_hold_it_in_turn(self, platforms: Platforms) -> None:
        """P7."""
        inside = 0

        async def turn() -> None:
            nonlocal inside
            async with platforms().lock(ACTOR, seconds=60):
                inside += 1
                assert inside == 1
                await asyncio.sleep(0.01)
                inside -= 1

        await asyncio.gather(*(turn() for _ in range(8)))


async def _hold(platform: Platform, seconds: float = 0.0) -> None:
    async with platform.lock(ACTOR, seconds=10):
        await asyncio.sleep(seconds)
