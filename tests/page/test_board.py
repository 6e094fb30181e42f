"""What the page shows of gateways: all that is known, what needs a person first, to its tenant."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.clock import now
from reconciler.model import Actor, Cause, Failure, FailureKind, State
from reconciler.service.http.page.view import PAGE_SIZE, View
from reconciler.service.http.page.words import exactly, person, relative, shown
from reconciler.service.http.problems import Problem
from reconciler.service.supervisor.facts import Facts, Waiting
from tests import certs
from tests.page.world import ABSENT, REFUSED, Stage, gateway, put, put_in, stage, status

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "\x1b[31mred\x1b[0m",
    "abc\u202etxt.exe\u202c",
    "\u2066hidden\u2069\u200b",
    "{{ 7 * 7 }} {% raw %}",
    "النص العربي",
]
INVISIBLE = "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]"


def names(text: str) -> list[str]:
    return re.findall(r'<tr id="gateway-([^"]+)"', text)


def row(text: str, name: str) -> str:
    """What stands in a row, without its tags."""
    html = text.partition(f'<tr id="gateway-{name}"')[2].partition("</tr>")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", html.partition(">")[2]).split())


async def board(on: Stage, query: str = "", tenant: str = "acme") -> str:
    page = await (await on.seen_by("read", tenant)).get(f"/{query}")
    assert page.status == 200
    return page.text


async def test_all_that_there_is_to_know_of_a_gateway_that_failed(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        labels = (("env", "production"), ("queue", "billing"))
        one = gateway("billing-in", "POP3", host="pop.example.com", labels=labels, protect=True)
        await put(on.service, one, status("failed", REFUSED, ago=250))
        due = now() + timedelta(seconds=50)
        on.supervisor.known["billing-in"] = Facts(next_attempt_at=due, waiting=Waiting.BACK_OFF)
        text = await board(on)
        found = row(text, "billing-in")
        for part in (
            "billing-in protected env=production queue=billing POP3 pop.example.com:995",
            "Failed 4 min ago",
            "user_password the server refused this user and password What to do: correct it",
            "Next attempt in ",
            "0 received",
            "until 2120-01-01 trust anchor",
            "by Jane Doe",
            "a1b2c3d owner acme-mail-config",
        ):
            assert part in found, found
        assert "<title>1 failed · Gateway Monitoring</title>" in text
        assert 'title="a1b2c3d4e5f60718293a4b5c6d7e8f9012345678"' in text
        assert 'title="Jane Doe &lt;jane@example.com&gt;"' in text


async def test_each_status_has_its_word_its_shape_and_its_reason(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("a"), status("succeeded"))
        await put(on.service, gateway("b"), status("failed", ABSENT))
        await put(on.service, gateway("c"), status("connecting"))
        by_hand = status("disconnected", cause=Cause.BY_HAND, actor="Ops <ops@example.com>")
        await put(on.service, gateway("d"), by_hand)
        await put(on.service, gateway("e", state=State.DISCONNECTED))
        on.supervisor.known["b"] = Facts(waiting=Waiting.PARKED)
        on.supervisor.known["c"] = Facts(waiting=Waiting.TURN)
        text = await board(on)
        assert "Connection succeeded 4 min ago" in row(text, "a")
        assert "Waiting for another user or password" in row(text, "b")
        assert "Connecting 4 min ago" in row(text, "c")
        assert "Waiting for its turn to connect" in row(text, "c")
        assert "Disconnected 4 min ago" in row(text, "d")
        assert "by hand, Ops" in row(text, "d")
        assert "as declared, Jane Doe" in row(text, "e")
        for state in ("succeeded", "failed", "connecting", "disconnected"):
            assert f'<use href="#{state}">' in text
            assert f'<symbol id="{state}"' in text


async def test_what_needs_a_person_stands_first(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("a-well"), status("succeeded"))
        await put(on.service, gateway("b-meant", state=State.DISCONNECTED))
        await put(on.service, gateway("c-soon"), status("succeeded"))
        await put(on.service, gateway("d-cut"), status("disconnected", cause=Cause.WHEN_FAILED))
        await put(on.service, gateway("e-connecting"), status("connecting"))
        await put(on.service, gateway("f-urgent"), status("succeeded"))
        await put(on.service, gateway("z-failed"), status("failed", ABSENT))
        await put(on.service, gateway("G-failed"), status("failed", ABSENT))
        for name, days in (("c-soon", 20), ("f-urgent", 3)):
            ends = now() + timedelta(days=days, minutes=1)
            on.supervisor.known[name] = Facts(certificate_expires=ends)
        text = await board(on)
        assert names(text) == [
            "G-failed",
            "z-failed",
            "f-urgent",
            "e-connecting",
            "d-cut",
            "c-soon",
            "b-meant",
            "a-well",
        ]
        assert names(await board(on, "?certificate=ending")) == ["f-urgent", "c-soon"]


ENDS: dict[str, tuple[float, str]] = {
    "far": (40, "until <time"),
    "soon": (29.9, 'class="end soon"'),
    "near": (13.9, 'class="end near"'),
    "urgent": (6.9, 'class="end urgent"'),
    "today": (0.5, 'class="end urgent"'),
    "over": (-0.1, 'class="end over"'),
}


async def test_a_certificate_is_warned_of_in_time(tmp_path: Path) -> None:
    """G9: expiry is warned of 30, 14 and 7 days before; whichever certificate ends first."""
    async with stage(tmp_path) as on:
        for name, (days, _) in ENDS.items():
            ends = now() + timedelta(days=days)
            await put(on.service, gateway(f"shown-{name}"), status("succeeded"))
            on.supervisor.known[f"shown-{name}"] = Facts(certificate_expires=ends)
            pem = certs.ca(end=ends).pem.decode()
            await put(on.service, gateway(f"declared-{name}", pem=pem), status("succeeded"))
        text = await board(on)
        for name, (_, said) in ENDS.items():
            for kind, whose in (("shown", "server"), ("declared", "trust anchor")):
                html = text.partition(f'id="gateway-{kind}-{name}"')[2].partition("</tr>")[0]
                assert said in html
                assert f'<span class="soft">{whose}' in html


async def test_plain_text_has_no_certificate(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("plain", mode="NONE"), status("succeeded"))
        assert "not encrypted" in row(await board(on), "plain")


async def test_the_summary_counts_all_and_filters(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        for number in range(3):
            await put(on.service, gateway(f"well-{number}"), status("succeeded"))
        await put(on.service, gateway("lost"), status("failed", ABSENT))
        text = await board(on, "?name=well&status=succeeded")
        tiles = dict(re.findall(r'<a class="tile (\w+)"[^>]*>.*?<b>([\d,]+)</b>', text))
        assert tiles == {
            "all": "4",
            "failed": "1",
            "connecting": "0",
            "disconnected": "0",
            "succeeded": "3",
        }
        assert 'href="/?name=well&amp;status=failed"' in text
        assert 'class="tile succeeded" href="/?name=well&amp;status=succeeded" aria-current' in text
        assert "3 gateways of 4" in text


FILTERS: list[tuple[str, list[str]]] = [
    ("?name=IN", ["billing-in", "support-in"]),
    ("?name=smtp.example.net", ["support-out"]),
    ("?status=failed", ["billing-in"]),
    ("?label=env%3Dproduction", ["billing-in", "support-in"]),
    ("?label=queue", ["billing-in"]),
    ("?label=env%3D", []),
    ("?name=in&status=succeeded&label=env%3Dproduction", ["support-in"]),
    ("?name=&status=&label=&certificate=&page=", ["billing-in", "support-in", "support-out"]),
    ("?unknown=1", ["billing-in", "support-in", "support-out"]),
    ("?page=99", ["billing-in", "support-in", "support-out"]),
    ("?name=%25", []),
    ("?name=%27%20OR%201%3D1%20--", []),
]


async def test_filters(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        both = (("env", "production"), ("queue", "billing"))
        await put(on.service, gateway("billing-in", labels=both), status("failed", ABSENT))
        await put(on.service, gateway("support-in"), status("succeeded"))
        out = gateway("support-out", "SMTP", host="smtp.example.net", labels=(("env", "staging"),))
        await put(on.service, out, status("succeeded"))
        visitor = await on.seen_by("read")
        for query, found in FILTERS:
            text = (await visitor.get(f"/{query}")).text
            assert names(text) == found, query
            assert ("No gateway fits" in text) == (not found), query


async def test_an_address_that_says_nothing_is_told(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        visitor = await on.seen_by("read")
        for query in ("status=well", "certificate=x", "page=-1", "page=1e9", "name=" + "x" * 300):
            page = await visitor.get(f"/?{query}")
            assert page.status == 400, query
            assert 'href="/"' in page.text


def test_a_view_and_its_address_are_the_same() -> None:
    view = View("a&b=c", "failed", "env=x y", "", 3)
    assert view.url(page=3) == "/?name=a%26b%3Dc&status=failed&label=env%3Dx+y&page=3"
    assert View.read({"name": "a&b=c", "status": "failed", "label": "env=x y", "page": "3"}) == view
    assert view.url(status="") == "/?name=a%26b%3Dc&label=env%3Dx+y"
    assert View().url() == "/"
    with pytest.raises(Problem):
        View.read({"page": "٣"})


async def test_no_gateways_yet(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        text = await board(on)
        assert "No gateways yet" in text
        assert "gateways apply" in text


async def test_a_tenant_sees_his_own_gateways_alone(tmp_path: Path) -> None:
    """A35: neither gateways, nor counts, nor buttons reach over to another tenant."""
    async with stage(tmp_path) as on:
        await put(on.service, gateway("ours"), status("succeeded"))
        theirs = gateway("theirs", labels=(("secret", "label"),))
        await put(on.service, theirs, status("failed", ABSENT), tenant="other")
        text = await board(on)
        assert names(text) == ["ours"]
        assert "theirs" not in text
        assert "secret=label" not in text
        assert "<b>0</b> <span>Failed" in text
        visitor = await on.seen_by("operate")
        absent = await visitor.get("/buttons/rebuild?gateway=absent")
        other = await visitor.get("/buttons/rebuild?gateway=theirs")
        assert (absent.status, absent.text) == (404, other.text)
        asked = await visitor.get("/buttons/disconnect?gateway=ours")
        form = {name: asked.field(name) for name in ("form_token", "revision", "key", "back")}
        page = await visitor.post("/buttons/disconnect", {**form, "gateway": "theirs"})
        assert page.status == 303
        assert "theirs is no longer there: nothing was done" in (await visitor.get("/")).text
        assert "Failed" in row(await board(on, tenant="other"), "theirs")


async def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        for number, text in enumerate(HOSTILE):
            failure = Failure(FailureKind.PROTOCOL, "port", f"it said: {text}", f"do: {text}")
            one = gateway(f"one-{number}", labels=(("label", text[:63]),), host=text)
            state, actor = status("failed", failure), Actor(text, text, text)
            await put(on.service, one, state, owner=text, actor=actor)
            state = status("disconnected", cause=Cause.BY_HAND, actor=text)
            await put(on.service, gateway(f"two-{number}"), state)
        page = await board(on)
        assert "<script>alert" not in page
        assert "<img" not in page
        assert not re.search(INVISIBLE, page)
        assert len(names(page)) == 2 * len(HOSTILE)
        assert "{{ 7 * 7 }}" in page
        assert "\\u202e" in page


async def test_ten_thousand_gateways_are_paged_and_counted(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        one = gateway("model")

        def fill(connection: object) -> None:
            for number in range(10_000):
                state = status("failed", ABSENT) if number % 100 == 7 else status("succeeded")
                put_in(connection, on.service, replace(one, name=f"gw-{number:05}"), state)  # type: ignore[arg-type] # by write

        await on.service.write(fill)
        text = await board(on)
        assert len(names(text)) == PAGE_SIZE
        assert names(text)[:2] == ["gw-00007", "gw-00107"]
        assert "<b>10,000</b> <span>All" in text
        assert "<b>100</b> <span>Failed" in text
        assert "Page 1 of 50" in text
        last = await board(on, "?page=50")
        assert names(last)[-1] == "gw-09999"
        assert names(await board(on, "?name=gw-0423&status=succeeded"))[0] == "gw-04230"


async def test_a_service_without_its_key_says_so(tmp_path: Path) -> None:
    """G37: without the key for passwords the page is up, and says why nothing logs in."""
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"), password="hunter2")
    (tmp_path / "platform.db.key").unlink()
    async with stage(tmp_path) as on:
        text = await board(on)
        assert "has no key for its passwords" in text
        assert str(tmp_path) not in text


AT = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "now"),
        (-4.9, "now"),
        (3, "now"),
        (-5, "5 s ago"),
        (-59, "59 s ago"),
        (-60, "1 min ago"),
        (-3599, "59 min ago"),
        (-7200, "2 h ago"),
        (-86_400, "1 day ago"),
        (-86_400 * 400, "400 days ago"),
        (44, "in 44 s"),
        (86_400 * 5, "in 5 days"),
    ],
)
def test_relative_times(seconds: float, words: str) -> None:
    assert relative((AT + timedelta(seconds=seconds)).isoformat(), AT) == words


def test_words() -> None:
    assert exactly("2026-11-22T12:00:05Z") == "2026-11-22 12:00:05 UTC"
    assert person("Jane Doe <jane@example.com>") == "Jane Doe"
    assert person("<jane@example.com>") == "<jane@example.com>"
    assert person("a <b") == "a <b"
    assert shown("a\u202eb") == "a\\u202eb"
    assert shown(7) == 7
