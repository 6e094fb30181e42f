"""The programs that we are measured against, each in an environment of its own.

`requirements-PEER.txt` are made with `uv pip compile --universal --python-version 3.11
--generate-hashes --no-emit-index-url --no-header --no-annotate`, from one or two names each:
check-jsonschema; the same and ruamel.yaml.clib; octodns==1.22.0; aiosmtplib.
"""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
CHECKOUT: Final = HERE.parent
PEERS: Final = HERE / ".peers"

CHECK_JSONSCHEMA: Final = "check-jsonschema"
"""As pip installs it."""

CHECK_JSONSCHEMA_C: Final = "check-jsonschema-c"
"""At its best: with the C parser of its YAML library, which pip leaves out."""

OCTODNS: Final = "octodns"

AIOSMTPLIB: Final = "aiosmtplib"


def program(peer: str, name: str) -> Path:
    """A program of a peer, which is installed on first use and whenever its pins change."""
    folder = PEERS / peer
    pins = HERE / f"requirements-{peer}.txt"
    stamp = folder / "installed"
    wanted = hashlib.sha256(pins.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {peer} into {folder.relative_to(CHECKOUT)}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        _pip(folder, "install", "--require-hashes", "--requirement", str(pins))
        compile_bytecode(folder / "bin" / "python", folder / "lib")
        stamp.write_text(wanted)
    return folder / "bin" / name


def ours(name: str) -> Path:
    """A program of the environment that this runs in."""
    return Path(sys.executable).parent / name


def compile_bytecode(python: Path | str, *folders: Path) -> None:
    """A first import without bytecode costs two to three times as much as every other."""
    command = [str(python), "-m", "compileall", "-q", "-j", "0", *map(str, folders)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _pip(folder: Path, *words: str) -> None:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, *words], check=True, stdout=sys.stderr)
