"""Rebuild and Disconnect: asked about first, carried out once, and written down."""

import asyncio
from pathlib import Path

import pytest

from reconciler.model import ActualGateway, Cause, StatusState
from reconciler.service.feed import About
from reconciler.service.store import AuditEntry, Store
from tests.page.world import ABSENT, REFUSED, Stage, gateway, put, stage, status


async def found(on: Stage, name: str) -> ActualGateway:
    actual = await on.service.look(lambda connection: Store(connection, "acme").find(name))
    assert actual
    return actual


async def trail(on: Stage, name: str) -> list[AuditEntry]:
    """What was written down after the create."""
    entries = await on.service.look(lambda connection: Store(connection, "acme").audit(name))
    return list(entries[1:])


async def test_the_question_says_what_will_happen(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"))
        await put(on.service, gateway("support-out", "SMTP"), status("failed", REFUSED))
        visitor = await on.seen_by("operate")
        page = await visitor.get("/buttons/rebuild?gateway=support-in&revision=1")
        assert "Rebuild <bdi>support-in</bdi>?" in page.text
        assert "made anew with the stored password" in page.text
        assert 'name="force"' not in page.text
        assert "has changed since" not in page.text
        page = await visitor.get("/buttons/rebuild?gateway=support-out")
        assert 'name="force"' in page.text, "its login was refused"
        page = await visitor.get("/buttons/disconnect?gateway=support-in")
        assert "Disconnect <bdi>support-in</bdi>?" in page.text
        assert "Mail stays on the mail server" in page.text
        assert "next plan proposes to rebuild" in page.text
        page = await visitor.get("/buttons/disconnect?gateway=support-out")
        assert "Messages to be sent are kept" in page.text
        assert (await trail(on, "support-in")) == []


async def test_a_press_is_carried_out_told_and_written_down(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"))
        visitor = on.visitor()
        token = await visitor.sign_in("operate", note="Ops on call")
        with on.service.feed.listen(About.GATEWAY) as listener:
            page = await visitor.press("disconnect", "support-in")
            changed = await asyncio.wait_for(listener.next(), 2)
        assert (page.status, page.headers["Location"]) == (303, "/")
        assert (changed.tenant, changed.gateway) == ("acme", "support-in")
        actual = await found(on, "support-in")
        assert actual.status.state is StatusState.DISCONNECTED
        assert actual.status.cause is Cause.BY_HAND
        assert actual.status.actor == "Ops on call"
        text = (await visitor.get("/")).text
        assert "support-in: it is disconnected." in text
        assert "Disconnected" in text
        assert "it is disconnected" not in (await visitor.get("/")).text, "told once"
        await visitor.press("rebuild", "support-in")
        assert (await found(on, "support-in")).status.state is StatusState.CONNECTING
        entries = await trail(on, "support-in")
        assert [entry.action for entry in entries] == ["disconnect", "rebuild"]
        assert {(entry.actor, entry.token, entry.run) for entry in entries} == {
            ("Ops on call", token, "page")
        }


async def test_who_has_no_name_is_written_down_by_the_token(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"))
        visitor = on.visitor()
        token = await visitor.sign_in("apply")
        await visitor.press("rebuild", "support-in")
        assert (await trail(on, "support-in"))[0].actor == f"token {token}"


async def test_a_form_sent_twice_acts_once(tmp_path: Path) -> None:
    """A34: the key of the form makes a repeated press harmless."""
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"))
        visitor = await on.seen_by("operate")
        asked = await visitor.get("/buttons/rebuild?gateway=support-in")
        fields = ("form_token", "gateway", "revision", "key", "back")
        form = {field: asked.field(field) for field in fields}
        pages = [await visitor.post("/buttons/rebuild", form) for _ in range(3)]
        assert [page.status for page in pages] == [303, 303, 303]
        assert len(await trail(on, "support-in")) == 1
        # the same key for another write is refused
        await visitor.post("/buttons/disconnect", form)
        assert "was used for another write" in (await visitor.get("/")).text
        assert (await found(on, "support-in")).status.state is StatusState.CONNECTING


async def test_what_has_changed_meanwhile_is_told_and_not_done(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"))
        one, other = await on.seen_by("operate"), await on.seen_by("operate")
        asked = await one.get("/buttons/disconnect?gateway=support-in&revision=1")
        fields = ("form_token", "gateway", "revision", "key", "back")
        form = {field: asked.field(field) for field in fields}
        await other.press("rebuild", "support-in")
        await one.post("/buttons/disconnect", form)
        assert "support-in was changed meanwhile: nothing was done." in (await one.get("/")).text
        assert (await found(on, "support-in")).status.state is StatusState.CONNECTING
        # the page shows revision 1; asked again, the question says who was first
        asked = await one.get("/buttons/disconnect?gateway=support-in&revision=1")
        assert "It has changed since you looked: rebuilt by" in asked.text
        assert asked.field("revision") == "2"


async def test_a_protected_gateway_is_not_disconnected(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("vip-in", protect=True), status("succeeded"))
        visitor = await on.seen_by("apply")
        asked = await visitor.get("/buttons/disconnect?gateway=vip-in")
        assert "vip-in is protected" in asked.text
        assert ">Disconnect</button>" not in asked.text
        page = await visitor.press("disconnect", "vip-in")
        assert page.status == 303
        assert "vip-in is protected" in (await visitor.get("/")).text
        assert (await found(on, "vip-in")).status.state is StatusState.SUCCEEDED
        assert await trail(on, "vip-in") == []
        await visitor.press("rebuild", "vip-in")
        assert (await found(on, "vip-in")).status.state is StatusState.CONNECTING


async def test_a_refused_login_is_tried_again_only_on_demand(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("failed", REFUSED), password="x")
        visitor = await on.seen_by("operate")
        await visitor.press("rebuild", "support-in")
        await visitor.press("rebuild", "support-in", {"force": "yes"})
        assert [entry.changes for entry in await trail(on, "support-in")] == [
            "[]",
            '[{"forced":true}]',
        ]


async def test_who_may_only_look_presses_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("failed", ABSENT))
        visitor = await on.seen_by("read")
        assert (await visitor.get("/buttons/rebuild?gateway=support-in")).status == 403
        form_token = (await visitor.get("/")).field("form_token")
        form = {"gateway": "support-in", "revision": "1", "key": "k", "form_token": form_token}
        assert (await visitor.post("/buttons/rebuild", form)).status == 403
        assert await trail(on, "support-in") == []


async def test_back_is_a_view_of_this_page_and_nothing_else(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("failed", ABSENT))
        visitor = await on.seen_by("operate")
        for back, where in (
            ("status=failed&name=in", "/?name=in&status=failed"),
            ("//evil.example/", "/"),
            ("https://evil.example", "/"),
            ("name=x\r\nSet-Cookie: a=b", "/?name=x%0D%0ASet-Cookie%3A+a%3Db"),
        ):
            page = await visitor.press("rebuild", "support-in", {"back": back})
            assert page.headers["Location"] == where


@pytest.mark.parametrize(
    "changes",
    [{"key": ""}, {"key": "k" * 65}, {"key": "a\nb"}, {"revision": "x"}, {"revision": ""}],
    ids=str,
)
async def test_a_form_that_was_bent_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"))
        visitor = await on.seen_by("operate")
        assert (await visitor.press("rebuild", "support-in", changes)).status == 400
        assert await trail(on, "support-in") == []


async def test_the_script_is_answered_with_the_notice_alone(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"))
        visitor = await on.seen_by("operate")
        part = {"Gateways-Part": "1"}
        page = await visitor.press("rebuild", "support-in", headers=part)
        assert page.status == 200
        assert page.text.strip().startswith('<div class="notice done">')
        assert "support-in: its session is being made anew." in page.text
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
