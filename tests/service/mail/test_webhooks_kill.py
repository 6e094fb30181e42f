"""Killed while it announces: nothing is lost, and what is told twice is told as the same event."""

import asyncio
import random
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

from reconciler.service.service import Service
from tests.service.mail.targets import LOOPBACK, Post, Told, announcing, target

CHECKOUT = Path(__file__).parents[3]
ROUNDS = 6

# stores two messages, says so, and announces until it is killed
TELLER = """
    import asyncio, pathlib, sys
    from tests.service.mail.targets import announcing

    async def main(folder, run):
        async with announcing(pathlib.Path(folder)) as post:
            await post.arrive(f"{run}-a", f"{run}-b")
            print("stored", flush=True)
            await asyncio.Event().wait()

    asyncio.run(main(*sys.argv[1:]))
"""


async def test_the_same_event_is_told_again(tmp_path: Path) -> None:
    """G2: killed before the answer, after it, and while it is being stored."""
    told: dict[str, list[Told]] = defaultdict(list)
    stored: set[str] = set()
    when = random.Random(7)  # noqa: S311 - repeatable
    process: subprocess.Popen[str] | None = None

    async def deadly(one: Told) -> int:
        told[one.subject].append(one)
        if process and when.random() < 0.5:
            process.kill()
        elif process:
            asyncio.get_running_loop().call_later(when.uniform(0, 0.02), process.kill)
        return 200

    async with target(deadly) as receiver:
        async with Service(tmp_path / "platform.db", LOOPBACK, environment={}) as service:
            await Post(service).register(receiver.url)
        for number in range(ROUNDS):
            process = teller(tmp_path, str(number))
            printed, _ = await asyncio.to_thread(process.communicate, timeout=60)
            if printed == "stored\n":
                stored |= {f"{number}-a", f"{number}-b"}
        process = None
        async with announcing(tmp_path) as post:
            await post.settled()
    assert stored <= told.keys()
    assert {f"{number}-a" for number in range(ROUNDS)} <= told.keys()
    for each in told.values():
        assert len({(one.id, one.body) for one in each}) == 1
    # no kill between storing and the answer would have proved nothing
    assert any(len(each) > 1 for each in told.values())


def teller(folder: Path, run: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(TELLER), str(folder), run],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
