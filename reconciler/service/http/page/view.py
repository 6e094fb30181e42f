"""What somebody wants to see, as it stands in the page's address: shareable, and read strictly."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import urlencode

from reconciler.model import StatusState
from reconciler.service.http.problems import Problem

PAGE_SIZE: Final = 200
ENDING: Final = "ending"
"""The value of `certificate` that asks for those that end soon."""

_STATUSES: Final = frozenset(state.value for state in StatusState)
_MOST_LETTERS: Final = 253
_MOST_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class View:
    """The filters, all of which must fit, and the page. Empty filters fit everything.

    `name` is a part of a gateway's name or host in any case, `label` is `name` or `name=value`.
    """

    name: str = ""
    status: str = ""
    label: str = ""
    certificate: str = ""
    page: int = 1

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Raises Problem; a filter that says nothing of ours would else show everything."""
        name, label = (query.get(key, "").strip() for key in ("name", "label"))
        status, certificate = query.get("status", ""), query.get("certificate", "")
        page = query.get("page", "") or "1"
        if max(len(name), len(label)) > _MOST_LETTERS:
            raise _invalid(f"a filter is longer than {_MOST_LETTERS} characters")
        if status and status not in _STATUSES:
            raise _invalid(f"there is no such status; there are {', '.join(sorted(_STATUSES))}")
        if certificate not in {"", ENDING}:
            raise _invalid(f"certificate may be {ENDING!r} and nothing else")
        if not (page.isascii() and page.isdigit() and len(page) <= _MOST_DIGITS):
            raise _invalid("page must be a number")
        return cls(name, status, label, certificate, max(int(page), 1))

    @property
    def filtered(self) -> bool:
        return replace(self, page=1) != View()

    def url(self, **changes: str | int) -> str:
        """The address of this view with some of it changed; a change of filters begins anew."""
        changed = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type] # by its fields
        return f"/?{changed.query()}" if changed.query() else "/"

    def query(self) -> str:
        pairs = (
            ("name", self.name),
            ("status", self.status),
            ("label", self.label),
            ("certificate", self.certificate),
            ("page", str(self.page) if self.page > 1 else ""),
        )
        return urlencode([(key, value) for key, value in pairs if value])


def _invalid(why: str) -> Problem:
    return Problem(400, "invalid", f"the page's address: {why}", "begin anew from the whole list")
