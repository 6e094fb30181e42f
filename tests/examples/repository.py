"""A project on a forge: a bare repository, a clone that people push from, and its API."""

import asyncio
import io
import shutil
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.cli.world import World
from tests.examples.github import WORKFLOWS
from tests.examples.machine import Machine, git
from tests.forges.forge_server import ForgeServer

PULL = 7


class Repository:
    """`world` is the working tree; main is pushed once it is made."""

    def __init__(self, world: World, machine: Machine, origin: Path) -> None:
        self.world, self.origin = world, origin
        self.root = world.root
        origin.mkdir()
        git(origin, "init", "--quiet", "--bare", "--initial-branch=main", ".")
        for setting in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowReachableSHA1InWant"):
            git(origin, "config", setting, "true")
        git(self.root, "init", "--quiet", "--initial-branch=main", ".")
        git(self.root, "remote", "add", "origin", origin.as_uri())
        for place in (".github", ".gitlab"):
            (self.root / place).mkdir()
            (self.root / place / "gateways-requirements.txt").write_text(machine.pin())
        shutil.copytree(WORKFLOWS, self.root / ".github/workflows")
        self.commit("a project")
        self.push()

    def commit(self, message: str) -> str:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--allow-empty", "--message", message)
        return git(self.root, "rev-parse", "HEAD")

    def push(self, ref: str = "refs/heads/main") -> str:
        git(self.root, "push", "--quiet", "--force", "origin", f"HEAD:{ref}")
        return git(self.root, "rev-parse", "HEAD")

    def main(self) -> str:
        return git(self.origin, "rev-parse", "main")

    def offer(self, message: str = "a change") -> tuple[str, str]:
        """Commit the tree as a pull request: its head, and the merge that a job checks out."""
        git(self.root, "checkout", "--quiet", "-B", "change")
        head = self.commit(message)
        self.push(f"refs/pull/{PULL}/head")
        git(self.root, "checkout", "--quiet", "-B", "merge", "main")
        git(self.root, "merge", "--quiet", "--no-ff", "--no-edit", head)
        return head, self.push(f"refs/pull/{PULL}/merge")

    def accept(self) -> str:
        git(self.root, "checkout", "--quiet", "main")
        git(self.root, "merge", "--quiet", "--no-ff", "--no-edit", "change")
        return self.push()


@dataclass
class Api(ForgeServer):
    """What GitHub answers of pull requests, commits and artifacts, out of the repository."""

    repository: Repository | None = None
    pulls: list[dict[str, Any]] = field(default_factory=list)
    archives: dict[int, bytes] = field(default_factory=dict)
    size: int | None = None
    queries: list[str] = field(default_factory=list)

    def routes(self, router: web.UrlDispatcher) -> None:
        super().routes(router)
        base = "/repos/example/mail"
        router.add_get(f"{base}/pulls", self._pulls)
        router.add_get(f"{base}/compare/{{range}}", self._compare)
        router.add_get(f"{base}/git/trees/{{sha}}", self._tree)
        router.add_get(f"{base}/actions/runs/55/artifacts", self._artifacts)
        router.add_get(f"{base}/actions/artifacts/{{id}}/zip", self._redirect)
        router.add_get("/blobs/{id}", self._blob)

    def open_pull(self, head: str, base: str, **fields: Any) -> None:
        self.pulls.append(
            {
                "number": PULL,
                "head": {"sha": head, "repo": {"full_name": "mallory/mail"}},
                "base": {"sha": base},
                **fields,
            }
        )

    async def _pulls(self, request: web.Request) -> web.Response:
        self._admit(request)
        asked = dict(request.query)
        self.queries.append(asked["head"])
        assert asked.keys() == {"head", "base", "state"}
        assert (asked["base"], asked["state"]) == ("main", "open")
        return web.json_response(self.pulls)

    async def _compare(self, request: web.Request) -> web.Response:
        self._admit(request)
        base, _, head = request.match_info["range"].partition("...")
        assert self.repository
        common = git(self.repository.origin, "merge-base", base, head)
        return web.json_response({"merge_base_commit": {"sha": common}})

    async def _tree(self, request: web.Request) -> web.Response:
        self._admit(request)
        assert self.repository
        listed = git(self.repository.origin, "ls-tree", request.match_info["sha"])
        entries = [line.split(None, 3) for line in listed.splitlines()]
        tree = [{"type": kind, "sha": sha, "path": path} for _, kind, sha, path in entries]
        return web.json_response({"tree": tree})

    async def _artifacts(self, request: web.Request) -> web.Response:
        self._admit(request)
        assert request.query["name"] == "gateways-plan"
        found = [
            {
                "id": number,
                "expired": False,
                "size_in_bytes": len(data) if self.size is None else self.size,
            }
            for number, data in self.archives.items()
        ]
        return web.json_response({"artifacts": found})

    async def _redirect(self, request: web.Request) -> web.Response:
        self._admit(request)
        # to a host of another name, as GitHub does: no token may go there
        where = self.url.replace("127.0.0.1", "localhost")
        raise web.HTTPFound(f"{where}/blobs/{request.match_info['id']}")

    async def _blob(self, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        return web.Response(body=self.archives[int(request.match_info["id"])])


def packed(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


@contextmanager
def serving(api: Api) -> Iterator[Api]:
    """The API in a thread of its own: scripts ask it while a test waits for them."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(api.__aenter__(), loop).result(30)
        yield api
        asyncio.run_coroutine_threadsafe(api.__aexit__(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
