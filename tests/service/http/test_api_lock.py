"""The lock of a tenant over the API: held by one, ended by its holder or by time."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.service.http.api import ACTOR, Api, api, fresh_key
from tests.service.running import Running, running

BOB = {"actor": {"name": "bob", "run": "4711"}}
ALICE = {"actor": ACTOR}


async def taken(caller: Api) -> str:
    answer = await caller.call("POST", "/v1/lock", ALICE)
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v1/lock/{answer.data['id']}"
    found: str = answer.data["id"]
    return found


async def test_one_holds_it_and_the_others_are_told_who(tmp_path: Path) -> None:
    """P7: two runs at once."""
    async with running(tmp_path) as run:
        caller, other = await api(run), await api(run)
        lock = await taken(caller)
        held = await other.call("POST", "/v1/lock", BOB)
        assert (held.status, held.slug, held.data["holder"]) == (423, "locked", "alice")
        assert lock not in held.body.decode()
        assert (await caller.call("PUT", f"/v1/lock/{lock}")).data["id"] == lock
        assert (await caller.call("DELETE", f"/v1/lock/{lock}")).status == 204
        again = await other.call("POST", "/v1/lock", BOB)
        assert (again.status, again.data["fence"]) == (201, 2)


async def test_of_many_exactly_one_is_given_it(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        caller = await api(run)
        answers = await asyncio.gather(*(caller.call("POST", "/v1/lock", BOB) for _ in range(50)))
        assert sorted(answer.status for answer in answers) == [201] + [423] * 49


async def test_a_repeated_request_is_given_the_same_lock(tmp_path: Path) -> None:
    """P13: where its answer was lost, nobody would hold it."""
    async with running(tmp_path) as run:
        caller = await api(run)
        key = fresh_key()
        first = await caller.call("POST", "/v1/lock", ALICE, Idempotency_Key=key)
        again = await caller.call("POST", "/v1/lock", ALICE, Idempotency_Key=key)
        assert (again.status, again.body) == (201, first.body)
        other = await caller.call("POST", "/v1/lock", BOB, Idempotency_Key=key)
        assert (other.status, other.slug) == (422, "key-reused")
        colleague = await api(run)
        guessed = await colleague.call("POST", "/v1/lock", ALICE, Idempotency_Key=key)
        assert guessed.status == 423


async def test_it_ends_with_its_lease(tmp_path: Path) -> None:
    """P8: the holder died, or stood still for too long."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    async with running(tmp_path, clock=lambda: moment) as run:
        caller = await api(run)
        await caller.create()
        lock = await taken(caller)
        moment += timedelta(seconds=20)
        assert (await caller.call("PUT", f"/v1/lock/{lock}")).status == 200
        moment += timedelta(seconds=20)
        assert (await caller.create("under-lock", Gateways_Lock=lock)).status == 201
        moment += timedelta(seconds=11)
        for answer in (
            await caller.call("PUT", f"/v1/lock/{lock}"),
            await caller.create("too-late", Gateways_Lock=lock),
            await caller.put("support", If_Match='"1"', Gateways_Lock=lock),
        ):
            assert (answer.status, answer.slug) == (423, "lock-lost")
        assert (await caller.get("/v1/gateways")).data["count"] == 2
        following = await caller.call("POST", "/v1/lock", BOB)
        assert (following.status, following.data["fence"]) == (201, 2)
        # the first holder comes back, and neither writes nor takes it away
        assert (await caller.create("too-late", Gateways_Lock=lock)).status == 423
        assert (await caller.call("DELETE", f"/v1/lock/{lock}")).status == 204
        assert (await caller.call("PUT", f"/v1/lock/{following.data['id']}")).status == 200


async def test_a_lock_that_is_none(tmp_path: Path) -> None:
    """A41: nobody ends or renews a lock whose id he does not know."""
    async with running(tmp_path) as run:
        caller = await api(run)
        held = await taken(caller)
        for lock in ("1", "x", "1-" + "0" * 32, "1-" + "0" * 31, "0-", "%20"):
            assert (await caller.call("PUT", f"/v1/lock/{lock}")).slug == "lock-lost"
            assert (await caller.call("DELETE", f"/v1/lock/{lock}")).status in {204, 423}
            assert (await caller.create(Gateways_Lock=lock)).slug == "lock-lost"
        assert (await caller.call("PUT", f"/v1/lock/{held}")).status == 200


async def test_taking_and_giving_back_are_in_the_trail(tmp_path: Path) -> None:
    """A41: and giving back what was given back is not."""
    async with running(tmp_path) as run:
        caller = await api(run)
        lock = await taken(caller)
        for _ in range(2):
            assert (await caller.call("DELETE", f"/v1/lock/{lock}")).status == 204
        entries = (await caller.get("/v1/audit")).data["entries"]
        assert [(one["action"], one["actor"]) for one in entries] == [
            ("lock", "alice"),
            ("unlock", "alice"),
        ]
        assert lock.partition("-")[2] not in str(entries)


async def test_a_plan_needs_no_lock_and_buttons_work_beside_one(tmp_path: Path) -> None:
    """A41: reading takes none, and an operator is not locked out by an apply."""
    async with running(tmp_path) as run:
        caller = await api(run)
        await caller.create()
        await taken(caller)
        await operate_beside(run)


async def operate_beside(run: Running) -> None:
    operator = await api(run, "operate")
    assert (await operator.get("/v1/gateways")).status == 200
    body = {"actor": {"name": "operator"}}
    assert (await operator.write("POST", "/v1/gateways/support/rebuild", body)).status == 200
