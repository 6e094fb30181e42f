"""Live updates: what changes is sent, to whom it belongs, for as long as he may look."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from reconciler.service.access import Tokens
from reconciler.service.http.page.streams import MAX_STREAMS
from tests.page.world import ABSENT, Stage, Visitor, events, gateway, put, report, stage, status

SECONDS = 10


class Looking:
    """A stream that is open; `next` gives the next event that says something."""

    def __init__(self, told: AsyncIterator[tuple[str, str]]) -> None:
        self._told = told

    async def next(self) -> tuple[str, Any]:
        while True:
            kind, data = await self.any()
            if kind != "still":
                return kind, data

    async def any(self) -> tuple[str, Any]:
        async with asyncio.timeout(SECONDS):
            async for kind, data in self._told:
                return kind, json.loads(data)
        return "end", None


@asynccontextmanager
async def looking(visitor: Visitor, query: str = "") -> AsyncIterator[Looking]:
    headers = {"Cookie": visitor.cookie}
    async with visitor.running.http.get(f"/events{query}", headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        yield Looking(events(answer))


async def with_two(on: Stage) -> None:
    await put(on.service, gateway("support-in"), status("succeeded"))
    await put(on.service, gateway("support-out", "SMTP"), status("succeeded"))


async def test_a_changed_status_is_sent_as_the_row_that_shows_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await with_two(on)
        async with looking(await on.seen_by("read")) as live:
            kind, first = await live.next()
            assert kind == "board"
            assert first["order"] == ["support-in", "support-out"]
            assert set(first["rows"]) == {"support-in", "support-out"}
            await report(on.service, "support-out", status("failed", ABSENT))
            kind, second = await live.next()
            assert kind == "board"
            assert second["order"] == ["support-out", "support-in"]
            assert set(second["rows"]) == {"support-out"}
            assert "nothing listens on port 993" in second["rows"]["support-out"]
            assert second["title"] == "1 failed · Gateway Monitoring"
            assert "<b>1</b> <span>Failed" in second["parts"]["summary"]


async def test_who_has_what_is_shown_is_sent_nothing_until_it_changes(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await with_two(on)
        visitor = await on.seen_by("read")
        digest = (await visitor.get("/")).text.partition('data-digest="')[2].partition('"')[0]
        async with looking(visitor, f"?have={digest}") as live:
            assert await live.any() == ("still", 0)
            await report(on.service, "support-in", status("failed", ABSENT))
            _, board = await live.next()
            assert set(board["rows"]) == {"support-in"}


async def test_a_view_is_kept_as_gateways_come_and_go(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await with_two(on)
        async with looking(await on.seen_by("read"), "?status=failed") as live:
            _, board = await live.next()
            assert board["order"] == []
            assert "No gateway fits" in board["parts"]["below"]
            await report(on.service, "support-in", status("failed", ABSENT))
            _, board = await live.next()
            assert board["order"] == ["support-in"]
            await put(on.service, gateway("zz"), status("failed", ABSENT))
            _, board = await live.next()
            assert board["order"] == ["support-in", "zz"]
            assert set(board["rows"]) == {"zz"}
            await report(on.service, "support-in", status("succeeded"))
            _, board = await live.next()
            assert board["order"] == ["zz"]


async def test_nobody_hears_of_another_tenants_gateways(tmp_path: Path) -> None:
    """A35: a change of another tenant neither is sent nor makes anything be sent."""
    async with stage(tmp_path) as on:
        await with_two(on)
        await put(on.service, gateway("theirs"), status("succeeded"), tenant="other")
        async with looking(await on.seen_by("read")) as live:
            _, board = await live.next()
            assert "theirs" not in json.dumps(board)
            await report(on.service, "theirs", status("failed", ABSENT), tenant="other")
            await report(on.service, "support-in", status("failed", ABSENT))
            summary = ""
            while "<b>1</b> <span>Failed" not in summary:  # a row may be ahead of it
                _, board = await live.next()
                assert "theirs" not in json.dumps(board)
                summary = board["parts"]["summary"]


async def test_a_storm_is_told_in_few_events(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        for number in range(12):
            await put(on.service, gateway(f"gw-{number}"), status("succeeded"))
        async with looking(await on.seen_by("read")) as live:
            await live.next()
            for number in range(12):
                state = status("failed", ABSENT) if number else status("connecting")
                await report(on.service, f"gw-{number}", state)
            failed, sent = "", 0
            while "<b>11</b> <span>Failed" not in failed:
                _, board = await live.next()
                failed = board["parts"]["summary"]
                sent += 1
            assert sent <= 6


async def test_a_stream_ends_when_its_visitor_signs_out(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        visitor = await on.seen_by("read")
        form = {"form_token": (await visitor.get("/")).field("form_token")}
        async with looking(visitor) as live:
            await live.next()
            await visitor.post("/logout", form)
            assert await live.next() == ("over", "signed-out")
            assert await live.next() == ("end", None)


async def test_a_stream_ends_when_its_token_is_revoked(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        visitor = on.visitor()
        token = await visitor.sign_in("read")
        async with looking(visitor) as live:
            await live.next()
            await on.service.write(lambda found: Tokens(found, on.service.clock).revoke(token))
            assert await live.next() == ("over", "signed-out")


async def test_one_tab_too_many_and_the_oldest_waits(tmp_path: Path) -> None:
    """A40: a visitor holds so many streams and no more."""
    async with stage(tmp_path) as on:
        visitor = await on.seen_by("read")
        async with looking(visitor) as oldest:
            await oldest.next()
            others = [looking(visitor) for _ in range(MAX_STREAMS)]
            for other in others:
                await other.__aenter__()
            assert await oldest.next() == ("over", "replaced")
            for other in others:
                await other.__aexit__(None, None, None)


async def test_a_stream_does_not_keep_the_service_from_ending(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), stage(tmp_path) as on:
        live = looking(await on.seen_by("read"))
        stream = await live.__aenter__()
        await stream.next()


async def test_without_a_visit_there_is_no_stream(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        page = await on.visitor().get("/events")
        assert page.status == 401
        visitor = await on.seen_by("read")
        assert (await visitor.get("/events", Sec_Fetch_Site="cross-site")).status == 403
        assert (await visitor.get("/events?status=x")).status == 400
