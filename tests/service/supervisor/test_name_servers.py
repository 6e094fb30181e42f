"""What name servers do to the gateways of a host."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from demo.mailserver.process import CHECKOUT
from reconciler.model import FailureKind
from reconciler.service.sessions import SessionError
from reconciler.service.sessions.resolver import Resolver
from tests.service.mounts import need_own_mounts

SCRIPT = """
    ip link set lo up
    ip -6 addr add 2001:db8:ffff::1/64 dev lo nodad
    ip -6 route add 2001:db8::/48 dev lo
    mount --bind "$1/resolv.conf" /etc/resolv.conf
    mount --bind "$1/hosts" /etc/hosts
    exec "$2" -m tests.service.supervisor.dns_world "$1"
"""


def need_own_network(folder: Path) -> None:
    """Skip where `unshare -n` does not work; under CI that is a failure."""
    need_own_mounts(folder)
    tried = subprocess.run(
        ["unshare", "-mn", "ip", "link", "set", "lo", "up"],
        env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin"},
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"no network of our own here: {tried.stderr.strip()}")


@pytest.mark.interop("unshare", "mount", "ip")
def test_a_name_server_that_fails_lies_or_changes_its_mind(tmp_path: Path) -> None:
    """G32: unknown, failing, silent, moved, and half dead; each connection looks the host up anew.

    A real resolver asks a real name server, on a machine of its own.
    """
    need_own_network(tmp_path)
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    done = subprocess.run(
        ["unshare", "-mn", "sh", "-euc", SCRIPT, "sh", str(tmp_path), sys.executable],
        cwd=CHECKOUT,
        env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]


async def test_a_name_that_hangs_holds_up_no_other_and_not_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G32: those who ask for the same name share one look-up; others have their own."""
    released, asked = threading.Event(), list[str]()

    def getaddrinfo(host: str, *_: object, flags: int = 0, **__: object) -> list[object]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        asked.append(host)
        if host == "hanging.test":
            released.wait(20)
        return [(socket.AF_INET, 0, 0, "", ("192.0.2.1", 25))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = Resolver(threads=2)
    waiting = [asyncio.create_task(resolver.resolve("hanging.test", 25)) for _ in range(100)]
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        for number in range(10):
            assert await resolver.resolve(f"host-{number}.test", 25)
    for task in waiting[:50]:
        task.cancel()
    released.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert asked.count("hanging.test") == 1
    assert found[99] == ((socket.AF_INET, ("192.0.2.1", 25)),)


async def test_each_look_up_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """G32: nothing is remembered, neither addresses nor faults."""
    answers: list[object] = [
        socket.gaierror(socket.EAI_AGAIN, "later"),
        UnicodeError("label too long"),
        [(socket.AF_INET, 0, 0, "", ("192.0.2.1", 25))],
        [(socket.AF_INET, 0, 0, "", ("192.0.2.2", 25))] * 2,
    ]

    def getaddrinfo(*_: object, flags: int = 0, **__: object) -> object:
        answer = answers[0] if flags else answers.pop(0)
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = Resolver()
    for transient in (True, False):
        with pytest.raises(SessionError) as caught:
            await resolver.resolve("mail.test", 25)
        assert caught.value.failure.kind is FailureKind.DNS
        assert caught.value.transient is transient
    assert await resolver.resolve("mail.test", 25) == ((socket.AF_INET, ("192.0.2.1", 25)),)
    assert await resolver.resolve("mail.test", 25) == ((socket.AF_INET, ("192.0.2.2", 25)),)


async def test_a_number_needs_no_look_up() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    resolver = Resolver(threads=0)
    assert await resolver.resolve("127.0.0.1", 25) == ((socket.AF_INET, ("127.0.0.1", 25)),)
    assert await resolver.resolve("::1", 25)
    assert loop.time() - began < 1
