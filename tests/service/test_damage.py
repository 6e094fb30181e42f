"""A damaged database is not served, and not touched."""

import asyncio
import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.errors import PlatformUnavailable
from reconciler.service.faults import Unsound
from tests.service.fleet import create, far_away, names, service_on

PAGE = 4096
B_TREE = frozenset({2, 5, 10, 13})
"""The kinds of page that a tree of rows is made of: the first byte of each."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which every kind of page comes up."""
    folder = tmp_path_factory.mktemp("sound")
    made = folder / "platform.db"

    async def fill() -> None:
        async with service_on(folder) as service:
            for number in range(60):
                await create(service, far_away(f"gateway-{number}"))
            await service.write(
                lambda c: c.execute(
                    "INSERT INTO certificates VALUES ('acme', 'long', ?)", ["x" * 20_000]
                )
            )

    asyncio.run(fill())
    return made


def digest(folder: Path) -> dict[str, str]:
    files = (path for path in folder.iterdir() if path.suffix != ".lock")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def copied(sound: Path, folder: Path, change: Callable[[bytearray], None]) -> Path:
    for file in sound.parent.iterdir():
        shutil.copy(file, folder / file.name)
    database = folder / sound.name
    content = bytearray(database.read_bytes())
    change(content)
    database.write_bytes(content)
    return database


async def refused(folder: Path) -> PlatformUnavailable:
    before = digest(folder)
    with pytest.raises(PlatformUnavailable) as caught:
        async with service_on(folder):
            pass
    assert digest(folder) == before
    return caught.value


def zero(content: bytearray) -> None:
    middle = len(content) // PAGE // 2 * PAGE
    content[middle : middle + PAGE] = bytes(PAGE)


def halve(content: bytearray) -> None:
    del content[len(content) // 2 :]


def cut_in_a_page(content: bytearray) -> None:
    del content[len(content) - 1000 :]


def blank(content: bytearray) -> None:
    content[:] = bytes(len(content))


def scribble(content: bytearray) -> None:
    content[:16] = b"PK\3\4 not a table"


@pytest.mark.parametrize("damage", [zero, halve, cut_in_a_page, blank, scribble])
async def test_a_damaged_database_is_refused_as_it_is(
    sound: Path, tmp_path: Path, damage: Callable[[bytearray], None]
) -> None:
    """G27."""
    copied(sound, tmp_path, damage)
    error = await refused(tmp_path)
    assert "damaged" in error.message
    assert "restore a backup" in error.hint


def pages_of_trees(database: Path) -> list[int]:
    content = database.read_bytes()
    starts = [100, *range(PAGE, len(content), PAGE)]
    return [start for start in starts if content[start] in B_TREE]


async def test_every_page_that_is_no_longer_one_is_found(sound: Path, tmp_path: Path) -> None:
    """G27: the byte that says what a page is, of each page of every tree."""
    pages = pages_of_trees(sound)
    assert len(pages) > 40
    for start in pages:

        def flip(changed: bytearray, start: int = start) -> None:
            changed[start] ^= 0x10

        copied(sound, tmp_path, flip)
        assert "damaged" in (await refused(tmp_path)).message, f"page at {start}"


async def test_damage_that_comes_up_later_ends_the_service(sound: Path, tmp_path: Path) -> None:
    """G27: at the first look at it."""
    database = copied(sound, tmp_path, lambda content: content.extend(b""))
    with closing(sqlite3.connect(database)) as other:
        async with service_on(tmp_path) as service:
            assert len(await names(service)) == 60
            # another write, so that no page is taken from memory; then what no program writes
            with other:
                other.execute("UPDATE epochs SET epoch = epoch")
                other.execute("CREATE TABLE other (a)")
            content = bytearray(database.read_bytes())
            content[PAGE:] = b"\xff" * (len(content) - PAGE)
            database.write_bytes(content)
            with pytest.raises(Unsound, match="damaged"):
                await names(service)
            assert service.fatal.is_set()
            with pytest.raises(Unsound):
                await create(service, far_away("after"))


async def test_a_database_that_was_emptied_is_not_taken_for_a_new_one(
    sound: Path, tmp_path: Path
) -> None:
    copied(sound, tmp_path, lambda content: content.clear())
    assert "passwords were once stored in it" in (await refused(tmp_path)).message


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "platform.db")) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    assert "belongs to another program" in (await refused(tmp_path)).message


async def test_an_unharmed_copy_is_served(sound: Path, tmp_path: Path) -> None:
    copied(sound, tmp_path, lambda content: content.extend(b""))
    async with service_on(tmp_path) as service:
        assert len(await names(service)) == 60
