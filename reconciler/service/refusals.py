"""How often a login was refused: a login refused too often is not tried again until it changes.

The count is in the database, where a write made the contact. A refresh stores nothing there, so
what it is refused is noted in the user's cache instead.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.service.store import Store

MAX_REFUSALS: Final = 3
"""A login refused so often is not tried again until it changes, so that no account is locked."""


class Notes:
    """Refusals of one user's refreshes: a file for each credential, a byte for each refusal.

    A help and no more: where there is no folder, or nothing can be written to it, nothing is noted.
    The name of a file is a digest keyed with the database's own key, and tells nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @classmethod
    def open(cls, environment: Mapping[str, str]) -> "Notes":
        """Those below XDG_CACHE_HOME or ~/.cache; nothing is made before the first note."""
        base = Path(environment.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():
            base = Path(environment.get("HOME", ""), ".cache")
        return cls(base / "gateways" / "refused" if base.is_absolute() else None)

    def count(self, credential: str) -> int:
        if self._folder:
            with suppress(OSError):
                return (self._folder / credential).lstat().st_size
        return 0

    def add(self, credential: str) -> None:
        if self._folder:
            with suppress(OSError):
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                handle = os.open(self._folder / credential, flags | os.O_NONBLOCK, 0o600)
                try:
                    os.write(handle, b".")
                finally:
                    os.close(handle)

    def forget(self, credential: str) -> None:
        if self._folder:
            with suppress(OSError):
                (self._folder / credential).unlink()


@dataclass(frozen=True, slots=True)
class Refusals:
    """Both counts of one tenant as one. The methods that change it need a caller's transaction."""

    store: Store
    notes: Notes

    def count(self, credential: str) -> int:
        """How often the login was refused; from MAX_REFUSALS on it is not to be tried again."""
        return self.store.refused_logins(credential) + self.notes.count(credential)

    def parked(self, credential: str) -> bool:
        """Whether the login is not to be tried again."""
        return self.count(credential) >= MAX_REFUSALS

    def add(self, credential: str, gateway: str, now: str) -> None:
        self.store.count_refusal(credential, gateway, now)

    def take_back(self, credential: str, gateway: str) -> None:
        """An attempt that was counted beforehand was not refused."""
        self.store.uncount_refusal(credential, gateway)

    def forget(self, credential: str) -> None:
        self.store.forget_refusals(credential=credential)
        self.notes.forget(credential)

    def allow_one_more(self, credential: str, gateway: str, now: str) -> None:
        """Let a parked login be tried once; if it is refused again, it is parked again."""
        if self.parked(credential):
            self.forget(credential)
            for _ in range(MAX_REFUSALS - 1):
                self.store.count_refusal(credential, gateway, now)
