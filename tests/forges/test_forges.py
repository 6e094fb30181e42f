"""Comments on a forge: found again, replaced, and never somebody else's."""

from collections.abc import AsyncIterator

import pytest

from reconciler.errors import PlatformUnavailable, WrongUsage
from reconciler.forges import Discussion, Forge, discussion, exchange, open_forge
from reconciler.model import Secret
from tests.forges.forge_server import TOKEN, ForgeServer

MARKER = "<!-- gateways plan: production -->"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
async def server() -> AsyncIterator[ForgeServer]:
    async with ForgeServer() as running:
        yield running


@pytest.fixture(params=["github", "gitlab"])
def forge(server: ForgeServer, request: pytest.FixtureRequest) -> Forge:
    place = Discussion(request.param, server.url, "example/mail", 7)
    return open_forge(place, Secret(TOKEN))


async def test_the_second_time_it_is_replaced(forge: Forge, server: ForgeServer) -> None:
    server.add("hello", "somebody")
    first = await forge.put_comment(MARKER, f"{MARKER}\none")
    second = await forge.put_comment(MARKER, f"{MARKER}\ntwo")
    assert first == second
    assert server.bodies() == ["hello", f"{MARKER}\ntwo"]


async def test_each_target_has_its_own(forge: Forge, server: ForgeServer) -> None:
    other = MARKER.replace("production", "staging")
    await forge.put_comment(MARKER, f"{MARKER}\none")
    await forge.put_comment(other, f"{other}\ntwo")
    await forge.put_comment(MARKER, f"{MARKER}\nthree")
    assert server.bodies() == [f"{MARKER}\nthree", f"{other}\ntwo"]


async def test_a_marker_that_a_person_wrote_is_left_alone(
    forge: Forge, server: ForgeServer
) -> None:
    """A20: whoever quotes the comment, or plants one, keeps his own."""
    server.add(f"{MARKER}\nNo changes, merge me", "mallory")
    await forge.put_comment(MARKER, f"{MARKER}\none")
    assert server.bodies() == [f"{MARKER}\nNo changes, merge me", f"{MARKER}\none"]


async def test_ours_is_found_behind_many_others(forge: Forge, server: ForgeServer) -> None:
    for number in range(230):
        server.add(f"remark {number}", "somebody")
    await forge.put_comment(MARKER, f"{MARKER}\none")
    await forge.put_comment(MARKER, f"{MARKER}\ntwo")
    assert [body for body in server.bodies() if body.startswith(MARKER)] == [f"{MARKER}\ntwo"]


async def test_a_jobs_token_that_may_not_ask_who_it_is(server: ForgeServer) -> None:
    server.may_ask_who = False
    forge = open_forge(Discussion("github", server.url, "example/mail", 7), Secret(TOKEN))
    server.add(f"{MARKER}\nfrom a person", "mallory")
    await forge.put_comment(MARKER, f"{MARKER}\none")
    await forge.put_comment(MARKER, f"{MARKER}\ntwo")
    assert server.bodies() == [f"{MARKER}\nfrom a person", f"{MARKER}\ntwo"]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_reading_is_tried_again(forge: Forge, server: ForgeServer, status: int) -> None:
    server.fail = [status, status]
    await forge.put_comment(MARKER, f"{MARKER}\none")
    assert server.bodies() == [f"{MARKER}\none"]


async def test_a_comment_that_may_have_been_written_is_not_written_twice(
    server: ForgeServer,
) -> None:
    forge = open_forge(Discussion("github", server.url, "example/mail", 7), Secret(TOKEN))
    await forge.put_comment("other", "other")
    reads = server.asked["GET"]
    assert reads
    with pytest.raises(PlatformUnavailable, match="status 502"):
        await _post_fails(forge, server)
    assert server.asked["POST"] == 2


async def _post_fails(forge: Forge, server: ForgeServer) -> None:
    """The comment's POST is answered with 502, its list before that is not."""
    add = server._admit

    def admit(request: object) -> None:
        if getattr(request, "method", "") == "POST":
            server.fail = [502]
        add(request)  # type: ignore[arg-type]

    server._admit = admit  # type: ignore[method-assign]
    await forge.put_comment(MARKER, f"{MARKER}\none")


@pytest.mark.parametrize("forge_name", ["github", "gitlab"])
async def test_a_wrong_token_is_told_and_never_shown(server: ForgeServer, forge_name: str) -> None:
    place = Discussion(forge_name, server.url, "example/mail", 7)
    with pytest.raises(PlatformUnavailable, match="does not accept the token") as caught:
        await open_forge(place, Secret("wrong-Canary")).put_comment(MARKER, MARKER)
    assert "Canary" not in caught.value.message + caught.value.hint


async def test_a_redirect_is_not_followed(forge: Forge, server: ForgeServer) -> None:
    async with ForgeServer() as elsewhere:
        server.redirect_to = f"{elsewhere.url}/user"
        with pytest.raises(PlatformUnavailable, match="status 302"):
            await forge.put_comment(MARKER, MARKER)
        assert not elsewhere.asked


@pytest.mark.parametrize(
    "text",
    [
        "<html>log in first</html>",
        "",
        "null",
        '"x"',
        "{}",
        "[1]",
        "[null]",
        f'[{{"body": "{MARKER}", "user": "us", "author": "us"}}]',
        f'[{{"body": "{MARKER}", "user": {{"type": "Bot"}}}}]',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
async def test_what_is_no_forge_is_told(forge: Forge, server: ForgeServer, text: str) -> None:
    """A proxy, a page to log in, a wrong address: it is not a bug of ours."""
    server.says = {"GET": (200, text)}
    with pytest.raises(PlatformUnavailable, match="not as the API of a forge does"):
        await forge.put_comment(MARKER, MARKER)


@pytest.mark.parametrize("text", ["<html>", "[]", "{}", '{"html_url": 1, "id": "1"}'])
async def test_an_odd_answer_to_a_comment(forge: Forge, server: ForgeServer, text: str) -> None:
    server.says = {"POST": (201, text)}
    with pytest.raises(PlatformUnavailable, match="not as the API of a forge does"):
        await forge.put_comment(MARKER, MARKER)


async def test_a_forge_that_refuses_the_comment_says_why(forge: Forge, server: ForgeServer) -> None:
    server.says = {"POST": (422, '{"message": "Body is too long"}')}
    with pytest.raises(PlatformUnavailable, match="status 422: Body is too long") as caught:
        await forge.put_comment(MARKER, MARKER)
    assert "later" not in caught.value.hint  # waiting does not help


async def test_a_comment_whose_author_is_gone(server: ForgeServer) -> None:
    """GitHub shows no user then."""
    server.add(f"{MARKER}\nfrom a ghost", "ghost")
    server.comments[0]["user"] = None
    forge = open_forge(Discussion("github", server.url, "example/mail", 7), Secret(TOKEN))
    await forge.put_comment(MARKER, f"{MARKER}\none")
    assert server.bodies() == [f"{MARKER}\nfrom a ghost", f"{MARKER}\none"]


async def test_what_does_not_answer_is_told() -> None:
    forge = open_forge(Discussion("github", "http://127.0.0.1:9", "example/mail", 7), Secret("x"))
    with pytest.raises(PlatformUnavailable, match="cannot be reached"):
        await forge.put_comment(MARKER, MARKER)


def test_what_a_job_of_github_says() -> None:
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_REF": "refs/pull/12/merge",
        "GITHUB_REPOSITORY": "example/mail",
        "GITHUB_API_URL": "https://github.example.com/api/v3",
        "GITHUB_TOKEN": f"{TOKEN}\n",
    }
    place, token = discussion(environ, forge=None, repository=None, number=None)
    assert place == Discussion("github", "https://github.example.com/api/v3", "example/mail", 12)
    assert token.reveal() == TOKEN


def test_what_a_job_of_gitlab_says() -> None:
    environ = {
        "GITLAB_CI": "true",
        "CI_API_V4_URL": "https://gitlab.example.com/api/v4",
        "CI_PROJECT_ID": "42",
        "CI_MERGE_REQUEST_IID": "3",
        "GITLAB_TOKEN": TOKEN,
    }
    place, _ = discussion(environ, forge=None, repository=None, number=None)
    assert place == Discussion("gitlab", "https://gitlab.example.com/api/v4", "42", 3)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "on which forge"),
        ({"GITHUB_ACTIONS": "true", "GITHUB_TOKEN": TOKEN}, "which pull request"),
        (
            {"GITHUB_ACTIONS": "1", "GITHUB_REPOSITORY": "a/b", "GITHUB_REF": "refs/heads/main"},
            "which pull request",
        ),
        (
            {"GITHUB_ACTIONS": "1", "GITHUB_REPOSITORY": "a/b", "GITHUB_REF": "refs/pull/1/merge"},
            "no token",
        ),
    ],
)
def test_what_cannot_be_told(environ: dict[str, str], said: str) -> None:
    with pytest.raises(WrongUsage, match=said):
        discussion(environ, forge=None, repository=None, number=None)
