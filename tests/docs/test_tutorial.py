"""The tutorial, run as it stands: its commands in one shell, its output compared."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent.parent
BLOCK: Final = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMES: Final = ("NAME", "EMAIL")  # who reads it has told git already
MARK: Final = "=== block"
BASH: Final = shutil.which("bash")


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text())


def shell(scripts: list[str]) -> str:
    """The commands, but for the set-up, which would make the environment that we run in anew."""
    parts = [f"echo '{MARK}'\n{script.replace('make setup', ':')}" for script in scripts]
    return "\n".join(parts)


def normalised(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\d{2,}", "N", text)).strip()


def expected() -> Iterator[tuple[int, str]]:
    """Each line of output that is shown, with the number of the commands that it stands under."""
    number = -1
    for kind, text in blocks():
        if kind == "sh":
            number += 1
        else:
            yield from ((number, normalised(line)) for line in text.splitlines())


@pytest.mark.skipif(
    BASH is None and not os.environ.get("CI"), reason="the tutorial is written for bash"
)
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    assert BASH
    programs = Path(sys.executable).parent
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "SOPS_DISABLE_VERSION_CHECK": "1",
        **{f"GIT_{who}_{what}": "you" for who in ("AUTHOR", "COMMITTER") for what in NAMES},
    }
    scripts = [text for kind, text in blocks() if kind == "sh"]
    done = subprocess.run(
        [BASH, "-c", f"exec 2>&1\n{shell(scripts)}\nkill %1"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    output = [normalised(part) for part in done.stdout.split(MARK)[1:]]
    assert len(output) == len(scripts)
    missing = [(number, line) for number, line in expected() if line not in output[number]]
    assert missing == [], done.stdout
