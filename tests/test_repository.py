"""What must hold of the repository as a whole, whatever the code does."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from reconciler import __version__

ROOT: Final = Path(__file__).resolve().parent.parent

# Hosts of package registries and their mirrors: an address in a file would tie a build to one.
REGISTRIES: Final = re.compile(
    "|".join(
        name.replace(".", r"\.")
        for name in (
            "py" + "pi.org",
            "python" + "hosted.org",
            "npm" + "js.org",
            "npm" + "js.com",
            "deb.debian" + ".org",
            "archive.ubuntu" + ".com",
            "pkg" + ".dev",
            "proxy.golang" + ".org",
            "crates" + ".io",
        )
    ),
    re.IGNORECASE,
)
# A path that holds on one machine only.
MACHINE_PATHS: Final = re.compile(
    r"(?<![\w.~-])/(?:" + "|".join(("ho" + "me", "ro" + "ot", "wo" + "rk", "Us" + "ers")) + r")/\w"
)
TEXT: Final = {".py", ".md", ".yaml", ".yml", ".json", ".toml", ".txt", ".sql", ".j2", ".html", ""}


def tracked() -> Iterator[Path]:
    """The files that git has or would take; without git, all but what is made."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
        names = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
        yield from (path for name in sorted(set(names)) if name and (path := ROOT / name).is_file())
    else:
        made = {".venv", ".venv-docs", "site", "__pycache__", ".gateways", ".peers"}
        yield from (p for p in ROOT.rglob("*") if p.is_file() and not made & set(p.parts))


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix in TEXT
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_registry_is_named() -> None:
    assert lines_that_match(REGISTRIES) == []


def test_no_path_of_one_machine() -> None:
    assert lines_that_match(MACHINE_PATHS) == []


def test_the_patterns_can_match() -> None:
    assert REGISTRIES.search("https://files.python" + "hosted.org/x")
    assert MACHINE_PATHS.search('"/ho' + 'me/me/checkout"')


def test_commands_of_the_readme_are_in_the_makefile() -> None:
    shown = set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", (ROOT / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= shown
    assert shown - targets == set()


def test_the_changelog_has_this_version() -> None:
    headings = re.findall(r"^## \[?([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__


@pytest.mark.parametrize("arguments", [["check_schemas.py"], ["lock.py", "--check"]])
def test_schemas_and_locks_are_in_order(arguments: list[str]) -> None:
    script, *options = arguments
    command = [sys.executable, str(ROOT / "scripts" / script), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


def test_every_pin_has_a_hash() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        entries = re.split(r"\n(?=[a-z])", path.read_text())[1:]
        assert entries
        assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_runtime_requirements_are_few_and_known() -> None:
    """Each one has earned its place; another one has to be argued for, here too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=~!\[; ]", text)[0] for text in project["dependencies"]}
    assert names == {
        "aiohttp",
        "click",
        "cryptography",
        "dnspython",
        "jinja2",
        "jsonschema",
        "jsonschema-rs",
        "prometheus-client",
        "pyrage",
        "pyyaml",
        "referencing",
    }


def hooks(file: str) -> list[dict[str, Any]]:
    loaded = yaml.safe_load((ROOT / file).read_text())
    if isinstance(loaded, list):
        return loaded
    return [hook for repo in loaded["repos"] for hook in repo["hooks"]]


def test_hooks_of_this_repository_come_from_the_locked_environment() -> None:
    for hook in hooks(".pre-commit-config.yaml"):
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")


def test_hooks_for_others_run_programs_of_ours() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for hook in hooks(".pre-commit-hooks.yaml"):
        assert hook["entry"].split()[0] in project["scripts"]


def test_workflows_are_pinned_and_ask_for_little() -> None:
    templates = ROOT / "reconciler" / "templates" / "init"
    for path in [templates / "workflow.yaml", *(ROOT / ".github").glob("workflows/*.y*ml")]:
        text = path.read_text()
        assert "pull_request_target:" not in text
        assert yaml.safe_load(text)["permissions"] == {}
        for used in re.findall(r"uses: (\S+)", text):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used), f"{used} is not pinned"
