"""Signing in, staying signed in, and its end; and requests that another page has made."""

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.clock import now
from reconciler.service.access import Tokens
from reconciler.service.http.routing import HttpSettings
from tests.page.world import gateway, put, stage, status


class Hands:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.turned = timedelta(0)

    def __call__(self) -> datetime:
        return now() + self.turned


async def test_who_is_not_signed_in_is_asked_to_and_comes_back_to_his_view(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        visitor = on.visitor()
        page = await visitor.get("/?status=failed&name=billing")
        assert (page.status, page.headers["Location"]) == (303, "/login?name=billing&status=failed")
        token = await on.running.token("read")
        where = "/login?name=billing&status=failed"
        page = await visitor.post(where, {"token": f" {token.text().reveal()}\n"})
        assert (page.status, page.headers["Location"]) == (303, "/?name=billing&status=failed")
        assert (await visitor.get("/")).status == 200
        assert (await visitor.get("/login")).headers["Location"] == "/"


@pytest.mark.parametrize("role", ["read", "operate", "apply"])
async def test_only_who_may_press_sees_buttons(tmp_path: Path, role: str) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"))
        page = await (await on.seen_by(role)).get("/")
        assert page.status == 200
        assert ('aria-label="Rebuild support-in"' in page.text) == (role != "read")


async def test_a_token_for_sending_may_not_look(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        token = await on.running.token("send")
        page = await on.visitor().post("/login", {"token": token.text().reveal()})
        assert page.status == 403
        assert "read, operate or apply" in page.text
        assert "Set-Cookie" not in page.headers


@pytest.mark.parametrize("text", ["", "secret", "gwt_x", "gwt_" + "a" * 12 + "." + "b" * 43 + "."])
async def test_a_wrong_token_is_told_and_not_repeated(tmp_path: Path, text: str) -> None:
    async with stage(tmp_path) as on:
        page = await on.visitor().post("/login", {"token": text})
        assert page.status == 401
        assert "not known here" in page.text
        assert not text or text not in page.text


async def test_who_guesses_is_told_to_wait(tmp_path: Path) -> None:
    """A40: the page and the API count wrong tokens together."""
    async with stage(tmp_path, limits=HttpSettings(failures=3)) as on:
        visitor = on.visitor()
        guess = {"token": "gwt_" + "a" * 12 + "." + "b" * 43 + "."}
        assert [(await visitor.post("/login", guess)).status for _ in range(2)] == [401, 401]
        headers = {"Authorization": f"Bearer {guess['token']}"}
        async with on.running.http.get("/v1/gateways", headers=headers) as answer:
            assert answer.status == 401
        page = await visitor.post("/login", guess)
        assert page.status == 429
        assert int(page.headers["Retry-After"]) > 0
        assert "text/html" in page.headers["Content-Type"]


async def test_the_cookie_is_out_of_reach_and_kept_as_a_hash(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        token = await on.running.token("read")
        visitor = on.visitor()
        page = await visitor.post("/login", {"token": token.text().reveal()})
        words = {word.strip() for word in page.headers["Set-Cookie"].split(";")}
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= words
        assert "Secure" not in words, "this is loopback without TLS"
        value = visitor.cookie.partition("=")[2]
        assert len(value) >= 43
        stored = (tmp_path / "platform.db").read_bytes()
        assert value.encode() not in stored
        assert token.secret.reveal().encode() not in stored


async def test_behind_tls_the_cookie_is_for_this_host_alone(tmp_path: Path) -> None:
    """A proxy that ends TLS passes on what the browser says of itself."""
    async with stage(tmp_path) as on:
        token = await on.running.token("read")
        visitor = on.visitor()
        headers = {"Origin": "https://gateways.example.com", "Host": "gateways.example.com"}
        page = await visitor.post("/login", {"token": token.text().reveal()}, **headers)
        cookie = page.headers["Set-Cookie"]
        assert cookie.startswith("__Host-gateways=")
        assert "Secure" in cookie
        assert (await visitor.get("/")).status == 200


async def test_over_a_network_without_tls_nobody_signs_in(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        token = await on.running.token("read")
        visitor = on.visitor()
        # a browser sends no Sec-Fetch header to a page that it does not trust
        plain = {"Host": "gateways.example.com:8080", "Sec_Fetch_Site": ""}
        page = await visitor.get("/login", **plain)
        assert "without TLS" in page.text
        assert 'name="token"' not in page.text
        headers = {
            "Host": "gateways.example.com:8080",
            "Origin": "http://gateways.example.com:8080",
            "Sec-Fetch-Site": "",
        }
        page = await visitor.post("/login", {"token": token.text().reveal()}, **headers)
        assert page.status == 403
        assert "Set-Cookie" not in page.headers


async def test_a_visit_ends_after_twelve_hours(tmp_path: Path) -> None:
    hands = Hands()
    async with stage(tmp_path, clock=hands) as on:
        visitor = on.visitor()
        await visitor.sign_in("read", days=30)
        hands.turned = timedelta(hours=11, minutes=59)
        assert (await visitor.get("/")).status == 200
        hands.turned = timedelta(hours=12, seconds=1)
        assert (await visitor.get("/")).status == 303


async def test_a_visit_ends_with_its_token(tmp_path: Path) -> None:
    hands = Hands()
    async with stage(tmp_path, clock=hands) as on:
        revoked, outdated = on.visitor(), on.visitor()
        token_id = await revoked.sign_in("operate")
        await outdated.sign_in("read")
        await on.service.write(lambda found: Tokens(found, on.service.clock).revoke(token_id))
        assert (await revoked.get("/")).status == 303
        assert (await outdated.get("/")).status == 200
        hands.turned = timedelta(days=1, seconds=1)
        assert (await outdated.get("/")).status == 303


async def test_signing_out_ends_the_visit_and_not_only_the_cookie(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        visitor = await on.seen_by("read")
        cookie = visitor.cookie
        page = await visitor.get("/")
        page = await visitor.post("/logout", {"form_token": page.field("form_token")})
        assert (page.status, page.headers["Location"]) == (303, "/login")
        assert visitor.cookie == ""
        assert (await visitor.get("/", Cookie=cookie)).status == 303


async def test_signing_in_again_ends_the_visit_before(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        visitor = await on.seen_by("read")
        before = visitor.cookie
        await visitor.sign_in("operate")
        assert visitor.cookie != before
        assert (await visitor.get("/", Cookie=before)).status == 303
        assert (await visitor.get("/")).status == 200


async def test_visits_outlast_the_service(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        cookie = (await on.seen_by("read")).cookie
    async with stage(tmp_path) as on:
        assert (await on.visitor().get("/", Cookie=cookie)).status == 200


@pytest.mark.parametrize("cookie", ["gateways=", "gateways=x", "gateways=" + "x" * 5000, "=;;="])
async def test_no_cookie_of_ours(tmp_path: Path, cookie: str) -> None:
    async with stage(tmp_path) as on:
        assert (await on.visitor().get("/", Cookie=cookie)).status == 303


FORGED: list[Mapping[str, str]] = [
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": ""},
    {"Origin": "null", "Sec-Fetch-Site": ""},
    {"Origin": "", "Sec-Fetch-Site": ""},
    {"Origin": "", "Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FORGED, ids=str)
async def test_what_another_page_sends_is_refused(
    tmp_path: Path, headers: Mapping[str, str]
) -> None:
    """A request forged by another page is refused even with the cookie and a token that fits."""
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"))
        visitor = await on.seen_by("operate")
        assert (await visitor.press("disconnect", "support-in", headers=headers)).status == 403
        form = {"form_token": (await visitor.get("/")).field("form_token")}
        assert (await visitor.post("/logout", form, **headers)).status == 403
        token = await on.running.token("read")
        login = {"token": token.text().reveal()}
        assert (await on.visitor().post("/login", login, **headers)).status == 403
        assert "Connection succeeded" in (await visitor.get("/?name=support-in")).text


@pytest.mark.parametrize("form_token", ["", "0" * 64, "é"])
async def test_a_form_of_nobody_or_of_somebody_else_is_refused(
    tmp_path: Path, form_token: str
) -> None:
    async with stage(tmp_path) as on:
        await put(on.service, gateway("support-in"), status("succeeded"))
        visitor = await on.seen_by("operate")
        changes = {"form_token": form_token}
        assert (await visitor.press("rebuild", "support-in", changes)).status == 403
        theirs = (await (await on.seen_by("operate")).get("/")).field("form_token")
        changes = {"form_token": theirs}
        assert (await visitor.press("rebuild", "support-in", changes)).status == 403


async def test_a_link_from_elsewhere_comes_in_all_the_same(tmp_path: Path) -> None:
    """The browser keeps the cookie back then; asked for once more from here, it sends it."""
    async with stage(tmp_path) as on:
        coming = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
        page = await on.visitor().get("/?status=failed", **coming)
        assert page.status == 200
        assert 'http-equiv="refresh" content="0"' in page.text
        again = {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "navigate"}
        page = await on.visitor().get("/?status=failed", **again)
        assert page.status == 303


async def test_forms_that_are_none_of_ours(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        visitor = await on.seen_by("operate")
        many = {f"field{number}": "" for number in range(30)}
        assert (await visitor.post("/buttons/rebuild", many)).status == 400
        assert (await visitor.post("/buttons/rebuild", {"x": "y" * 10_000})).status == 413
        sent = {"Origin": on.running.url, "Cookie": visitor.cookie}
        async with on.running.http.post("/buttons/rebuild", json={}, headers=sent) as answer:
            assert answer.status == 415


async def test_every_answer_says_what_a_browser_may_do_with_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        visitor = await on.seen_by("read")
        pages = [await visitor.get(path) for path in ("/", "/login", "/?page=x", "/events?page=x")]
        pages.append(await on.visitor().get("/login"))
        for page in pages:
            policy = page.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "unsafe" not in policy
            assert page.headers["X-Content-Type-Options"] == "nosniff"
            assert page.headers["Referrer-Policy"] == "same-origin"
            assert page.headers["Cache-Control"] == "no-store"
            assert "<script>" not in page.text
            assert "<style" not in page.text
            assert " style=" not in page.text
            assert " on" not in "".join(re.findall(r"<[^>]*>", page.text)).replace(" one", "")


async def test_static_files_are_kept_for_long_under_a_name_that_changes(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        login = (await on.visitor().get("/login")).text
        style = login.partition('stylesheet" href="')[2].partition('"')[0]
        page = await on.visitor().get(style)
        assert (page.status, page.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
        assert "immutable" in page.headers["Cache-Control"]
        for other in ("main.js", "icon.svg"):
            assert (await on.visitor().get(style.replace("page.css", other))).status == 200
        for absent in ("absent.css", "..%2fpage.css", "page.css.py"):
            assert (await on.visitor().get(style.replace("page.css", absent))).status == 404


async def test_many_visits_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        visitors = await asyncio.gather(*(on.seen_by("read") for _ in range(20)))
        assert len({visitor.cookie for visitor in visitors}) == 20
