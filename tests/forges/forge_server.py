"""A server on this machine that speaks the endpoints of GitHub and of GitLab that we use."""

import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

TOKEN = "forge-token-Canary-55aa"


@dataclass
class ForgeServer:
    """One pull request, number 7 of example/mail. `fail` are statuses to answer before working.

    `says` is what it answers whatever it is asked, by the method of the request.
    """

    comments: list[dict[str, Any]] = field(default_factory=list)
    fail: list[int] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    may_ask_who: bool = True
    redirect_to: str = ""
    says: dict[str, tuple[int, str]] = field(default_factory=dict)
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        self.routes(app.router)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/user", self._user)
        router.add_get("/repos/example/mail/issues/7/comments", self._list)
        router.add_post("/repos/example/mail/issues/7/comments", self._add)
        router.add_patch("/repos/example/mail/issues/comments/{id}", self._replace)
        router.add_get("/projects/example%2Fmail/merge_requests/7", self._request)
        router.add_get("/projects/example%2Fmail/merge_requests/7/notes", self._list)
        router.add_post("/projects/example%2Fmail/merge_requests/7/notes", self._add)
        router.add_put("/projects/example%2Fmail/merge_requests/7/notes/{id}", self._replace)

    def add(self, body: str, author: str, kind: str = "User") -> None:
        number = len(self.comments) + 1
        self.comments.append(
            {
                "id": number,
                "body": body,
                "user": {"login": author, "type": kind},
                "author": {"id": _number(author)},
                "html_url": f"{self.url}/example/mail/pull/7#issuecomment-{number}",
            }
        )

    def bodies(self) -> list[str]:
        return [one["body"] for one in self.comments]

    def _admit(self, request: web.Request) -> None:
        self.asked[request.method] += 1
        given = (request.headers.get("Authorization"), request.headers.get("PRIVATE-TOKEN"))
        if given not in {(f"Bearer {TOKEN}", None), (None, TOKEN)}:
            raise web.HTTPUnauthorized
        if self.redirect_to:
            raise web.HTTPFound(self.redirect_to)
        if self.fail:
            raise _Answer(self.fail.pop(0), '{"message": "not now"}')
        if request.method in self.says:
            raise _Answer(*self.says[request.method])

    async def _user(self, request: web.Request) -> web.Response:
        self._admit(request)
        if not self.may_ask_who:
            raise web.HTTPForbidden
        return web.json_response({"login": "us", "id": _number("us")})

    async def _list(self, request: web.Request) -> web.Response:
        self._admit(request)
        page, size = int(request.query["page"]), int(request.query["per_page"])
        return web.json_response(self.comments[(page - 1) * size : page * size])

    async def _add(self, request: web.Request) -> web.Response:
        self._admit(request)
        self.add((await request.json())["body"], "us", "User" if self.may_ask_who else "Bot")
        return web.json_response(self.comments[-1], status=201)

    async def _replace(self, request: web.Request) -> web.Response:
        self._admit(request)
        found = self.comments[int(request.match_info["id"]) - 1]
        found["body"] = (await request.json())["body"]
        return web.json_response(found)

    async def _request(self, request: web.Request) -> web.Response:
        self._admit(request)
        return web.json_response({"web_url": f"{self.url}/example/mail/-/merge_requests/7"})


def _number(author: str) -> int:
    """GitLab's id of a person."""
    return zlib.crc32(author.encode())


class _Answer(web.HTTPException):
    def __init__(self, status: int, text: str) -> None:
        self.status_code = status
        super().__init__(text=text, content_type="application/json")
