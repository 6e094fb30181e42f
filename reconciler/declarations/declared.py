"""One gateway of one target, after defaults and variables: what schema and rules judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from reconciler.model import Certificate, Place


class Source(Protocol):
    """A file that knows where each value of it stands."""

    @property
    def file(self) -> str: ...

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Place:
        """Where the value at `path` stands, or its key; for a missing path, its parent's key."""
        ...


@dataclass(frozen=True, slots=True)
class Declared:
    """The merged fields of one gateway: those of `defaults` under its own, nulls removed.

    `own` and `inherited` are the keys that it and its file's defaults gave, so that a problem can
    point at the line where a value came from.
    """

    name: str
    fields: Mapping[str, Any]
    source: Source
    own: frozenset[str]
    inherited: frozenset[str]
    certificate: Certificate | None = field(default=None)

    def path(self, key: str | None = None) -> tuple[str, ...]:
        """The path in the file of the gateway, or of one of its fields."""
        if key is None or (key not in self.own and key not in self.inherited):
            return ("gateways", self.name)
        return ("gateways", self.name, key) if key in self.own else ("defaults", key)

    def place(self, key: str | None = None) -> Place:
        """Where a field's value stands; for a missing field, where the gateway's name stands."""
        path = self.path(key)
        return self.source.place(path, key=path == ("gateways", self.name))

    @property
    def secret(self) -> str | None:
        """The name of the secret that the password refers to."""
        reference = self.fields.get("user_password")
        return reference.get("secret") if isinstance(reference, dict) else None
