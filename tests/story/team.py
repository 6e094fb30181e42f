"""Those who take part in the story: a forge, contributors with clones of it, and its CI jobs.

The forge is a bare repository and a server that takes comments. Every command is the real one, in a
process of its own, in a clone of its own, with what its job is given and no more.
"""

import asyncio
import copy
import os
import shutil
import subprocess
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from demo.mailserver.process import ServerProcess
from tests.cli.served import Served, served
from tests.cli.world import CANARY, USERS, Ran, World
from tests.forges.forge_server import TOKEN, ForgeServer

T = TypeVar("T")

ACCOUNTS = dict(zip(USERS, (CANARY, CANARY + "-2"), strict=True))
SECONDS = 30.0


def git(folder: Path, *arguments: str) -> str:
    """What git says; author and settings are of no machine."""
    environ = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **{f"GIT_{who}_NAME": "Carol" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "carol@example.test" for who in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environ, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@dataclass
class Forge:
    """Where branches are pushed to, and where a pull request is discussed."""

    repository: Path
    server: ForgeServer
    loop: asyncio.AbstractEventLoop

    def environ(self) -> dict[str, str]:
        """What a job of a pull request is told, and the token that may comment."""
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_REPOSITORY": "example/mail",
            "GITHUB_API_URL": self.server.url,
            "GITHUB_TOKEN": TOKEN,
        }

    def comments(self) -> list[str]:
        return self.server.bodies()

    def merge(self, branch: str) -> str:
        """As the forge does it once somebody has pressed the button; the commit of the merge."""
        with _clone(self.repository, "main", self.repository.parent / "merging") as clone:
            git(clone, "merge", "--quiet", "--no-ff", "-m", f"Merge {branch}", f"origin/{branch}")
            git(clone, "push", "--quiet", "origin", "main")
            self.server.comments.clear()  # what comes next is another pull request
            return git(clone, "rev-parse", "HEAD")


@dataclass
class Team:
    """A story's cast. `world` is the clone of Carol, who holds the key; jobs have none of hers."""

    world: World
    forge: Forge
    platform: Mapping[str, Any]
    service: Served | None = None
    jobs: Iterator[int] = field(default_factory=lambda: count(1))

    # --- contributors

    def push(self, branch: str, message: str) -> None:
        """Commit everything to a branch, which is made where it is not there, and push it."""
        root = self.world.root
        git(root, "checkout", "--quiet", "-B", branch)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "-m", message)
        git(root, "push", "--quiet", "--force", "origin", branch)

    def pull(self) -> None:
        """Back to what was merged; what was not committed is gone."""
        root = self.world.root
        git(root, "fetch", "--quiet", "origin")
        git(root, "checkout", "--quiet", "--force", "-B", "main", "origin/main")

    def rotate(self, secret: str, user: int, password: str) -> None:
        """A new password on the mail server, and in the file, whose others sops leaves alone."""
        self.world.set_secret(secret, password)
        self.world.server.change_accounts({**ACCOUNTS, USERS[user - 1]: password})

    # --- jobs

    @contextmanager
    def job(self, branch: str, *, key: bool = False, role: str = "read") -> Iterator[World]:
        """A fresh clone of a branch, with the key or without, and a token of that role."""
        folder = self.world.root.parent / f"job-{next(self.jobs)}"
        with _clone(self.forge.repository, branch, folder) as clone:
            job = copy.copy(self.world)
            job.root = clone
            job.environ = {**self.world.environ, "GATEWAYS_ACTOR": "ci"}
            if not key:
                del job.environ["SOPS_AGE_KEY"]
            if self.service:
                job.environ["GATEWAYS_TOKEN"] = self.service.token(role)
            yield job

    def pull_request(self, branch: str, *options: str) -> Ran:
        """What CI does for each push: validate, plan without a key, comment. Gives the plan."""
        with self.job(branch) as job:
            assert job.run("validate").code == 0
            kept = ("--policy-from", "origin/main", "--out", "plan.json", *options)
            planned = job.run("plan", "--format", "json", *kept)
            if not planned.code or planned.code in {2, 4}:
                commented = job.run("comment", "plan.json", **self.forge.environ())
                assert commented.code == 0, commented.err
                assert commented.out.startswith(self.forge.server.url)
            return planned

    def apply(self, *options: str) -> Ran:
        """What CI does for each merge, where the key is: plan, save, and apply what was saved."""
        with self.job("main", key=True, role="apply") as job:
            planned = job.run("plan", "--out", "plan.json", *options)
            assert planned.code == 0, planned.out + planned.err
            return job.run("apply", "plan.json", "--format", "json", *options)

    # --- everybody

    def statuses(self) -> dict[str, str]:
        """Each gateway's status, as the platform has it now."""
        with self.job("main") as job:
            told = job.run("status", "--format", "json").json("status")["gateways"]
            return {one["name"]: one["status"] for one in told}

    def drift(self) -> tuple[int, dict[str, Any]]:
        """What the nightly job ends with, and what it found."""
        with self.job("main") as job:
            ran = job.run("drift", "--format", "json")
            return ran.code, ran.json("drift")

    def expect_nothing_to_do(self) -> None:
        """Whoever runs again does nothing, and nothing has drifted."""
        with self.job("main", key=True, role="apply") as job:
            again = job.apply("--format", "json")
            assert again.code == 0, again.err
            summary = again.events()[-1]
            assert (summary["done"], summary["failed"], summary["skipped"]) == (0, 0, 0)
            assert job.run("drift").code == 0


@contextmanager
def team(folder: Path, server: ServerProcess, platform: str) -> Iterator[Team]:
    """Everybody in place: an empty forge, and one merge that holds the settings and the secrets."""
    server.change_accounts(ACCOUNTS)
    with ExitStack() as stack:
        forge = stack.enter_context(_forge(folder))
        world = World(folder / "carol", server)
        service = None
        target: dict[str, Any] = {"platform": "embedded", "database": str(folder / "platform.db")}
        if platform == "http":
            options = ("--private-hosts", "allow")
            service = stack.enter_context(served(folder / "service/platform.db", *options))
            token = {"env": "GATEWAYS_TOKEN"}
            target = {"platform": "http", "url": service.url, "tenant": "acme", "token": token}
        world.settings["targets"] = {"production": target | {"allow_hosts": ["localhost"]}}
        world.write_settings()
        cast = Team(world, forge, target, service)
        git(world.root, "init", "--quiet", "-b", "main")
        git(world.root, "remote", "add", "origin", str(forge.repository))
        cast.push("main", "Settings, secrets and certificates")
        yield cast


@contextmanager
def _forge(folder: Path) -> Iterator[Forge]:
    repository = folder / "forge.git"
    git(folder, "init", "--quiet", "--bare", "-b", "main", str(repository))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait_for(main: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(main, loop).result(SECONDS)

    server = ForgeServer()
    wait_for(server.__aenter__())
    try:
        yield Forge(repository, server, loop)
    finally:
        wait_for(server.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


@contextmanager
def _clone(repository: Path, branch: str, folder: Path) -> Iterator[Path]:
    git(repository, "clone", "--quiet", "--branch", branch, str(repository), str(folder))
    yield folder
    shutil.rmtree(folder)
