"""Build the site of docs/ into site/, and check what was built.

The pages link to files beside docs/ as well, which GitHub shows: those are copied into the site,
and the links follow. `make docs` makes the environment that this needs.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from scripts.site_links import faults

ROOT: Final = Path(__file__).resolve().parent.parent
MKDOCS: Final = ROOT / ".venv-docs/bin/mkdocs"
BESIDE: Final = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples")
# a link to a file, with its anchor: not to a heading of the same page, and not to another site
LINK: Final = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(?=[)#])")
NOTICE: Final = {"NO_MKDOCS_2_WARNING": "1"}  # says that there will be another generator


def stage(root: Path, folder: Path) -> None:
    """Copy all that the site is made of to where it stands in the site."""
    shutil.copytree(root / "docs", folder)
    for name in BESIDE:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name)
        else:
            shutil.copy(root / name, folder / name)
    for page in folder.rglob("*.md"):
        page.write_text(moved(page.read_text(), page.relative_to(folder)))
    for below in [one for one in (folder / "examples").rglob("*") if one.is_dir()]:
        if not (below / "README.md").exists():
            (below / "README.md").write_text(listing(below))


def moved(text: str, page: Path) -> str:
    """A page's text with its links as they are in the site; those that lead out of it stay."""
    original = page if page.parts[0] in BESIDE else "docs" / page

    def there(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(original.parent / match[1]))
        if path.parts[0] == "docs":
            path = Path(*path.parts[1:])
        elif path.parts[0] not in BESIDE:
            return match[0]
        if path.parts[0] == "examples" and not path.suffix and match[1].endswith("/"):
            path /= "README.md"
        return os.path.relpath(path, page.parent)

    return LINK.sub(there, text)


def listing(folder: Path) -> str:
    """A page for a folder of examples that has none: its files."""
    names = sorted(
        f"{one.name}/README.md" if one.is_dir() else one.name for one in folder.iterdir()
    )
    return f"# {folder.name}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)


def build(root: Path, site: Path) -> int:
    """Strictly: what the generator warns of is an error."""
    with TemporaryDirectory() as folder:
        stage(root, Path(folder, "docs"))
        shutil.copy(root / "mkdocs.yml", folder)
        command = [str(MKDOCS), "build", "--strict", "--site-dir", str(site)]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **NOTICE},
            check=False,
            stderr=subprocess.PIPE,
            text=True,
        )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    (site / "404.html").unlink(missing_ok=True)  # it is for a site at the root of a server
    return done.returncode


def report(found: Iterator[str]) -> Sequence[str]:
    lines = list(found)
    for line in lines:
        print(line, file=sys.stderr)
    return lines


def main() -> int:
    site = ROOT / "site"
    if code := build(ROOT, site):
        return code
    if report(faults(site)):
        return 1
    print(f"site/index.html: {len(list(site.rglob('*.html')))} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
