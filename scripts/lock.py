"""Pin every requirement with its hashes; or, with --check, tell whether the pins are up to date.

Checking needs no network and no other tool. Each lock file starts with a digest of what it was made
from, the requirements in pyproject.toml; on top of that every requirement must be met by a pin,
every pin must carry hashes, and what is installed here must not need anything that is not pinned.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parent.parent
LOCKS: Final = {
    "runtime": ("pyproject.toml",),
    "dev": ("pyproject.toml", "--group", "dev"),
    "docs": ("--group", "docs"),  # for an environment without this project
}
HEADER: Final = "# made by `make lock` from pyproject.toml; requirements sha256:"
PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Lock:
    name: str
    text: str

    @property
    def path(self) -> str:
        return f"requirements/{self.name}.txt"

    def pins(self) -> dict[str, str]:
        return {canonicalize_name(name): version for name, version in PIN.findall(self.text)}

    def without_hash(self) -> list[str]:
        entries = re.split(r"\n(?=[A-Za-z0-9])", self.text)
        return [entry.split()[0] for entry in entries if "==" in entry and "sha256:" not in entry]


def wanted(project: dict[str, Any], name: str) -> list[str]:
    """The requirements that one lock file is made from, as written."""
    group = project["dependency-groups"].get(name, [])
    return [*group] if name == "docs" else [*project["project"]["dependencies"], *group]


def digest(project: dict[str, Any], name: str) -> str:
    parts = [project["project"]["requires-python"], sorted(wanted(project, name))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def faults(project: dict[str, Any], lock: Lock) -> Iterator[str]:
    if not lock.text.startswith(f"{HEADER}{digest(project, lock.name)}\n"):
        yield f"{lock.path} was not made from the requirements that pyproject.toml has now"
    yield from (f"{lock.path}: {pin} has no hash" for pin in lock.without_hash())
    pins = lock.pins()
    for text in wanted(project, lock.name):
        requirement = Requirement(text)
        version = pins.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield f"{lock.path} does not meet {text}"
    yield from unpinned(lock.path, pins)


def unpinned(path: str, pins: dict[str, str]) -> Iterator[str]:
    for name in sorted(pins):
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue  # pinned for another system
        for requirement in map(Requirement, needed):
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and canonicalize_name(requirement.name) not in pins:
                yield f"{path}: {name} needs {requirement.name}, which is not pinned"


def write(project: dict[str, Any], name: str, *, upgrade: bool) -> None:
    """Pin anew; versions that still fit stay as they are unless `upgrade`."""
    path = ROOT / "requirements" / f"{name}.txt"
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate"]
    command += [*LOCKS[name], "--output-file", str(path)]
    command += ["--upgrade"] if upgrade else []
    subprocess.run(command, cwd=ROOT, check=True)
    path.write_text(f"{HEADER}{digest(project, name)}\n{path.read_text()}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only tell; needs no network")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    arguments = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for name in () if arguments.check else LOCKS:
        write(project, name, upgrade=arguments.upgrade)
    locks = [Lock(name, (ROOT / f"requirements/{name}.txt").read_text()) for name in LOCKS]
    found = [fault for lock in locks for fault in faults(project, lock)]
    for fault in found:
        print(fault)
    if found:
        print("run `make lock`")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
