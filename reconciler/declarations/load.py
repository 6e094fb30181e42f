"""Files to data: every declaration file of a folder, read once, in the order of their names.

A pull request decides what lies in the folder, so nothing in it is trusted: pipes and devices are
never opened, links may not leave the project, and whatever cannot be read is a problem, since
taking it for absent would disconnect its gateways.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reconciler.declarations.cache import ParseCache, forget_some, may_hold_password
from reconciler.declarations.catalogue.files import severity
from reconciler.declarations.declaration_files import Unread, find_folder, list_files, read_file
from reconciler.declarations.strict_yaml import Positions, YamlProblem, parse, positions
from reconciler.declarations.yaml_faults import printable
from reconciler.declarations.yaml_gaps import Gaps
from reconciler.garbage import no_collection
from reconciler.model import Place, Problem

MAX_TOTAL_BYTES: Final = 512 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Document:
    """One file: `file` is relative to the project's root, `data` the map at its top.

    `gaps` is set where something of the file was refused: what could be read is judged all the
    same.
    """

    file: str
    text: bytes = field(repr=False)
    data: Any = field(repr=False)
    gaps: Gaps | None = field(default=None, repr=False)
    _positions: Positions | None = field(default=None, repr=False)

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Place:
        """Where the value at `path` stands, or its key; if missing, its nearest parent's key."""
        if self._positions is None:
            self._positions = positions(self.text, self.file)
        return self._positions.place(path, key=key)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Documents and problems, both sorted by file; a file is in one of the two, or in both.

    `files` counts all that there were, also those that could not be read.
    """

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    files: int


def load(root: Path, folder: str, cache: ParseCache | None = None) -> Loaded:
    """Every declaration file of `folder`, which is relative to `root`; folders in it are ignored.

    Each file is read once. A file that is broken, or cannot be read, is a problem of its own.
    """
    loader = _Loader(os.path.realpath(root), os.path.normpath(folder), cache)
    with no_collection():
        loader.run()
    if cache is not None:
        cache.save()
    return Loaded(tuple(loader.documents), tuple(sorted(loader.problems)), loader.files)


class _Loader:
    def __init__(self, root: str, folder: str, cache: ParseCache | None) -> None:
        self._root = root
        self._folder = folder
        self._cache = cache
        self._shared: dict[str, str] = {}
        self.files = 0
        self.documents: list[Document] = []
        self.problems: list[Problem] = []

    def run(self) -> None:
        try:
            entries = list_files(find_folder(self._root, self._folder))
        except Unread as reason:
            self._report(reason, self._folder)
            return
        self.files = len(entries)
        if not entries:
            message = "the folder of declarations has no .yaml or .yml file"
            hint = "check 'declarations' in gateways.yaml, and that the checkout is complete"
            self._report(Unread("no-declarations", message, hint), self._folder)
        left = MAX_TOTAL_BYTES
        for entry in entries:
            left -= self._file(entry)
            forget_some(self._shared)
            if left < 0:
                message = f"the declarations are larger than {MAX_TOTAL_BYTES >> 20} MiB together"
                large = Unread("folder-too-large", message, "split the repository")
                self._report(large, self._folder)
                return

    def _file(self, entry: "os.DirEntry[str]") -> int:
        """Load one file; its size."""
        file = f"{self._folder}/{entry.name}"
        gaps = None
        try:
            text = read_file(entry, self._root)
        except Unread as reason:
            self._report(reason, file)
            return 0
        try:
            data = self._parsed(text, file)
        except YamlProblem as fault:
            self.problems += fault.problems
            if fault.rest is None or fault.rest.data is None:
                return len(text)
            data, gaps = fault.rest.data, fault.rest.gaps
        if isinstance(data, dict):
            self.documents.append(Document(file, text, data, gaps))
        elif data is None:
            self._report(Unread("empty-file", "this file declares nothing", "delete it"), file)
        else:
            message = "the file must be a map with the key gateways"
            self._report(Unread("not-a-map", message, "begin it with gateways:"), file)
        return len(text)

    def _parsed(self, text: bytes, file: str) -> Any:
        if self._cache is None:
            return parse(text, file, self._shared)
        digest = hashlib.sha256(text).hexdigest()
        data = self._cache.get(digest)
        if data is None:
            data = parse(text, file, self._shared)
            if isinstance(data, dict) and not may_hold_password(data):
                self._cache.put(digest, data)
        return data

    def _report(self, reason: Unread, file: str) -> None:
        name = "".join(map(printable, file))
        place = Place(name)
        rule = reason.rule
        self.problems.append(Problem(place, "", rule, severity(rule), reason.message, reason.hint))
