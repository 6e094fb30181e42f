"""Writing gateways over the API: revisions, keys, the lock, and who may do what."""

import asyncio
import copy
import hashlib
import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reconciler.service.feed import About
from reconciler.service.http.asking import digest_of
from reconciler.service.store import Store
from tests.service.http.api import ACTOR, CANARY, Api, api, fresh_key, wish
from tests.service.running import running


def changed(**changes: Any) -> dict[str, Any]:
    """A wish with something at the top of it changed."""
    return {**copy.deepcopy(wish()), **changes}


async def revision(caller: Api, name: str = "support") -> str:
    found: str = (await caller.get(f"/v1/gateways/{name}")).data["revision"]
    return found


# revisions


async def test_creating_what_is_there_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        assert (await caller.create()).status == 201
        again = await caller.create()
        assert (again.status, again.slug) == (409, "exists")
        assert await revision(caller) == "1"


async def test_an_edit_on_an_earlier_revision_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        assert (await caller.edit(host="a.example.com")).headers["ETag"] == '"2"'
        late = await caller.edit(host="b.example.com")
        assert (late.status, late.slug) == (412, "revision-moved")
        assert (await caller.get("/v1/gateways/support")).data["gateway"]["host"] == "a.example.com"


async def test_a_write_says_what_it_was_decided_on(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        neither = await caller.put("support")
        assert (neither.status, neither.slug) == (428, "precondition-required")
        for headers in (
            {"If_None_Match": '"1"'},
            {"If_None_Match": "*", "If_Match": '"1"'},
            {"If_Match": "1"},
            {"If_Match": 'W/"1"'},
            {"If_Match": '"1", "2"'},
        ):
            answer = await caller.put("support", **headers)
            assert (answer.status, answer.slug) == (400, "invalid"), headers
        assert (await caller.get("/v1/gateways")).data["count"] == 0


async def test_whatever_the_revision(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        await caller.edit(host="a.example.com")
        body = wish(host="b.example.com")
        assert (await caller.put("support", body, If_Match="*")).headers["ETag"] == '"3"'
        unsaid = await caller.put("support", changed(reconnect=None), If_Match="*")
        assert unsaid.status == 422
        del body["reconnect"]
        missing = await caller.put("support", body, If_Match="*")
        assert [one["field"] for one in missing.data["errors"]] == ["reconnect"]


async def test_of_two_edits_on_one_revision_exactly_one_wins(tmp_path: Path) -> None:
    """P11: a thousand times, and nothing is lost or written twice."""
    async with running(tmp_path) as run:
        caller = await api(run)

        async def contended(name: str) -> None:
            await caller.create(name)
            for number in range(1, 51):
                answers = await asyncio.gather(
                    *(
                        caller.edit(name, str(number), host=f"{one}.example.com")
                        for one in ("a", "b")
                    )
                )
                assert sorted(answer.status for answer in answers) == [200, 412]

        names = [f"gw-{number}" for number in range(20)]
        await asyncio.gather(*(contended(name) for name in names))
        for name in names:
            entries = await run.site.service.look(partial(audited, name=name))
            assert entries == [str(one) for one in range(1, 52)]


def audited(connection: sqlite3.Connection, name: str) -> list[str]:
    """The revisions that the trail tells of."""
    return [entry.revision for entry in Store(connection, "acme").audit(name)]


async def test_of_many_edits_on_one_revision_exactly_one_wins(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        for number in range(1, 11):
            answers = await asyncio.gather(
                *(
                    caller.edit(revision=str(number), host=f"h{one}.example.com")
                    for one in range(50)
                )
            )
            assert Counter(answer.status for answer in answers) == {200: 1, 412: 49}


@pytest.mark.parametrize("what", ["rebuild", "disconnect", "adopt"])
async def test_the_other_writes_know_revisions_too(tmp_path: Path, what: str) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        bodies = {
            "rebuild": {"actor": ACTOR},
            "disconnect": {"actor": ACTOR, "owner": "ours", "cause": "by hand"},
            "adopt": wish(),
        }
        path = f"/v1/gateways/support/{what}"
        late = await caller.write("POST", path, bodies[what], If_Match='"7"')
        assert (late.status, late.slug) == (412, "revision-moved")
        done = await caller.write("POST", path, bodies[what], If_Match='"1"')
        assert (done.status, done.headers["ETag"]) == (200, '"2"')
        assert (await caller.write("POST", path, bodies[what])).status == 200
        absent = wish("none") if what == "adopt" else bodies[what]
        none = await caller.write("POST", f"/v1/gateways/none/{what}", absent)
        assert (none.status, none.slug) == (404, "not-found")


# what each of them does


async def test_the_session_is_told_after_every_write(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        with run.site.service.feed.listen(About.GATEWAY) as listener:
            await caller.create()
            told = await asyncio.wait_for(listener.next(), 5)
        assert (told.tenant, told.gateway) == ("acme", "support")


async def test_rebuild_and_disconnect(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        body = {"actor": ACTOR, "owner": "ours", "cause": "undeclared"}
        gone = await caller.write("POST", "/v1/gateways/support/disconnect", body)
        assert gone.data["status"]["cause"] == "undeclared"
        assert (gone.data["has_password"], gone.data["fingerprint"]) == (False, None)
        force = {"actor": {"name": "bob"}, "force": True}
        back = await caller.write("POST", "/v1/gateways/support/rebuild", force)
        assert (back.data["status"]["state"], back.data["status"]["actor"]) == ("connecting", "bob")
        wrongs: list[dict[str, Any]] = [
            {"cause": "gone"},
            {"actor": {}},
            {"owner": "a b"},
            {"x": 1},
        ]
        for wrong in wrongs:
            bad = {"actor": ACTOR, "owner": "ours", "cause": "declared", **wrong}
            answer = await caller.write("POST", "/v1/gateways/support/disconnect", bad)
            assert (answer.status, answer.slug) == (422, "invalid"), wrong


async def test_another_owner_is_not_touched_but_may_be_taken_over(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        theirs = changed(owner="theirs")
        edit = await caller.put("support", theirs, If_Match='"1"')
        assert (edit.status, edit.slug) == (409, "not-ours")
        body = {"actor": ACTOR, "owner": "theirs", "cause": "declared"}
        end = await caller.write("POST", "/v1/gateways/support/disconnect", body)
        assert (end.status, end.slug) == (409, "not-ours")
        taken = await caller.write("POST", "/v1/gateways/support/adopt", theirs, If_Match='"1"')
        assert (taken.status, taken.data["owner"], taken.data["revision"]) == (200, "theirs", "2")


async def test_a_password_is_not_moved_to_another_host(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        moved = wish(host="evil.example.net")
        moved["password"] = {"known": False}
        answer = await caller.put("support", moved, If_Match='"1"')
        assert (answer.status, answer.slug) == (409, "blocked")
        stays = wish(default_user_name="Support")
        stays["password"] = {"known": False}
        kept = await caller.put("support", stays, If_Match='"1"')
        assert (kept.status, kept.data["has_password"]) == (200, True)


async def test_every_change_is_in_the_trail_with_its_token(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        token = await run.token("apply")
        caller = Api(run, {"Authorization": f"Bearer {token.text().reveal()}"})
        await caller.create()
        await caller.create("other")
        await caller.edit(host="a.example.com")
        trail = (await caller.get("/v1/audit?gateway=support")).data
        shown = [(one["action"], one["actor"], one["revision"]) for one in trail["entries"]]
        assert shown == [("create", "alice", "1"), ("edit", "alice", "2")]
        assert {one["token"] for one in trail["entries"]} == {token.id}
        assert {one["commit"] for one in trail["entries"]} == {"c0ffee"}
        (secret,) = [
            one for one in trail["entries"][0]["changes"] if one["field"] == "user_password"
        ]
        assert secret == {"field": "user_password", "secret": "set"}
        first = (await caller.get("/v1/audit?limit=1")).data
        rest = (await caller.get(f"/v1/audit?after={first['cursor']}")).data
        assert [one["gateway"] for one in (*first["entries"], *rest["entries"])] == [
            "support",
            "other",
            "support",
        ]
        nothing = (await caller.get(f"/v1/audit?after={rest['cursor']}")).data
        assert nothing == {"entries": [], "cursor": rest["cursor"]}


async def test_the_trail_from_its_end_while_it_grows(tmp_path: Path) -> None:
    """No page repeats what another has, or leaves out what was there at the first."""
    async with running(tmp_path) as run:
        caller = await api(run)
        for number in range(5):
            await caller.create(f"gw-{number}")
        seen, cursor = list[str](), "0"
        for number in range(4):
            page = (await caller.get(f"/v1/audit?order=desc&limit=2&after={cursor}")).data
            seen += [one["gateway"] for one in page["entries"]]
            cursor = page["cursor"]
            await caller.create(f"later-{number}")
        assert seen == [f"gw-{number}" for number in (4, 3, 2, 1, 0)]
        newest = (await caller.get("/v1/audit?order=desc&limit=1&gateway=gw-1")).data
        assert [one["gateway"] for one in newest["entries"]] == ["gw-1"]
        wrong = await caller.get("/v1/audit?order=newest")
        assert (wrong.status, wrong.data["errors"][0]["field"]) == (400, "order")


# keys


async def test_a_repeated_write_is_answered_as_before_and_done_once(tmp_path: Path) -> None:
    """A34: also where what was written has changed since."""
    async with running(tmp_path) as run:
        caller = await api(run)
        key = fresh_key()
        first = await caller.create(Idempotency_Key=key)
        await caller.edit(host="a.example.com")
        again = await caller.create(Idempotency_Key=key)
        assert (again.status, again.body) == (first.status, first.body)
        assert again.headers["ETag"] == '"1"'
        assert await revision(caller) == "2"


async def test_a_key_is_good_for_one_body(tmp_path: Path) -> None:
    """A34: a key that was used, or guessed, alters nothing."""
    changes: list[dict[str, Any]] = [
        {"owner": "theirs"},
        {"actor": {"name": "mallory"}},
        {"password": {"known": True, "value": "another"}},
        {"password": {"known": True, "value": None}},
        {"password": {"known": False}},
        {"gateway": wish(host="evil.example.net")["gateway"]},
        {"reconnect": False},
    ]
    async with running(tmp_path) as run:
        caller = await api(run)
        key = fresh_key()
        await caller.create(Idempotency_Key=key)
        for change in changes:
            body = changed(**change)
            other = await caller.put("support", body, If_None_Match="*", Idempotency_Key=key)
            assert (other.status, other.slug) == (422, "key-reused"), change
        assert await revision(caller) == "1"


async def test_a_key_is_good_for_one_rebuild_and_one_disconnect(tmp_path: Path) -> None:
    """A34: with another body, another gateway or another revision it is refused."""
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        await caller.create("other")
        key = fresh_key()
        path = "/v1/gateways/support/rebuild"
        first = await caller.write("POST", path, {"actor": ACTOR}, Idempotency_Key=key)
        again = await caller.write("POST", path, {"actor": ACTOR}, Idempotency_Key=key)
        assert (again.status, again.body) == (200, first.body)
        for wrong, body, headers in (
            (path, {"actor": {"name": "bob"}}, {}),
            (path, {"actor": ACTOR, "force": True}, {}),
            ("/v1/gateways/other/rebuild", {"actor": ACTOR}, {}),
            (path, {"actor": ACTOR}, {"If_Match": '"2"'}),
        ):
            answer = await caller.write("POST", wrong, body, Idempotency_Key=key, **headers)
            assert (answer.status, answer.slug) == (422, "key-reused")
        assert (await revision(caller), await revision(caller, "other")) == ("2", "1")


async def test_a_key_is_of_one_token_and_one_route(tmp_path: Path) -> None:
    """A34: who has another's key, of his tenant or of another, learns and alters nothing."""
    async with running(tmp_path) as run:
        ours, colleague = await api(run), await api(run)
        stranger = await api(run, tenant="globex")
        key = fresh_key()
        await ours.create(Idempotency_Key=key)
        guessed = await colleague.create(Idempotency_Key=key)
        assert (guessed.status, guessed.slug) == (409, "exists")
        theirs = await stranger.put("support", wish(), If_None_Match="*", Idempotency_Key=key)
        assert theirs.status == 201
        elsewhere = await ours.write(
            "POST", "/v1/gateways/support/rebuild", {"actor": ACTOR}, Idempotency_Key=key
        )
        assert elsewhere.status == 200


async def test_two_requests_with_one_key_at_once(tmp_path: Path) -> None:
    """A34: one is carried out, and both are told the same."""
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        for number in range(1, 21):
            key = fresh_key()
            answers = await asyncio.gather(
                *(
                    caller.put("support", wish(), If_Match=f'"{number}"', Idempotency_Key=key)
                    for _ in range(5)
                )
            )
            assert {answer.status for answer in answers} == {200}
            assert len({answer.body for answer in answers}) == 1
        assert await revision(caller) == "21"


async def test_a_refused_write_leaves_its_key_unused(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        key = fresh_key()
        body = {"actor": ACTOR}
        path = "/v1/gateways/support/rebuild"
        assert (await caller.write("POST", path, body, Idempotency_Key=key)).status == 404
        await caller.create()
        assert (await caller.write("POST", path, body, Idempotency_Key=key)).status == 200


async def test_keys_are_kept_for_a_day(tmp_path: Path) -> None:
    """A34: then the answer, which says what was there, is gone."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    async with running(tmp_path, clock=lambda: moment) as run:
        token = await run.token("apply", days=3)
        caller = Api(run, {"Authorization": f"Bearer {token.text().reveal()}"})
        key = fresh_key()
        await caller.create(Idempotency_Key=key)
        moment += timedelta(hours=23)
        assert (await caller.create(Idempotency_Key=key)).status == 201
        moment += timedelta(hours=2)
        assert (await caller.create(Idempotency_Key=key)).status == 409


async def test_keys_that_are_none(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        for key in (None, "", "ü", "x" * 256, "two words", "in\tside"):
            slug = "key-required" if key is None else "invalid"
            answer = await caller.create(Idempotency_Key=key)
            assert (answer.status, answer.slug) == (400, slug), key
            body = {"actor": ACTOR}
            path = "/v1/gateways/a/rebuild"
            rebuild = await caller.write("POST", path, body, Idempotency_Key=key)
            assert (rebuild.status, rebuild.slug) == (400, slug), key


async def test_nothing_that_is_kept_of_a_body_tells_its_password(tmp_path: Path) -> None:
    """A34: neither the answers nor their fingerprints are of any use to who reads the disk."""
    async with running(tmp_path) as run:
        caller = await api(run)
        body = wish()
        await caller.put("support", body, If_None_Match="*")
        rows = await run.site.service.look(
            lambda found: found.execute("SELECT * FROM answers").fetchall()
        )
        kept = str(rows)
    assert CANARY not in kept
    assert digest_of(body) not in kept
    assert hashlib.sha256(CANARY.encode()).hexdigest() not in kept
    assert CANARY.encode() not in everything_in(tmp_path)


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


# the service's key is missing


async def test_without_its_key_the_service_shows_and_stores_no_password(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await (await api(run)).create()
    (tmp_path / "platform.db.key").unlink()
    async with running(tmp_path) as run:
        caller = await api(run)
        assert (await caller.get("/v1/gateways/support")).data["has_password"] is True
        for answer in (await caller.create("other"), await caller.edit()):
            assert (answer.status, answer.slug) == (503, "sealed")
            assert str(tmp_path) not in str(answer.data)
        body = {"actor": ACTOR, "owner": "ours", "cause": "undeclared"}
        gone = await caller.write("POST", "/v1/gateways/support/disconnect", body)
        assert (gone.status, gone.data["has_password"]) == (200, False)
