"""Every gateway of a tenant in a few words: enough to count, filter and sort ten thousand."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from reconciler.clock import stamp
from reconciler.model import Cause, StatusState
from reconciler.service.http.page.view import ENDING, View
from reconciler.service.http.page.words import STATUS_WORDS

MAX_LABELS: Final = 200
"""So many labels are offered, those of most gateways first."""

_URGENT: Final = timedelta(days=7)
SOON: Final = timedelta(days=30)

# What needs a person first: the lowest number stands at the top.
_FAILED, _ENDING_NOW, _CONNECTING, _CUT_OFF, _ENDING_SOON, _DISCONNECTED, _WELL = range(7)
_SUCCEEDED: Final = StatusState.SUCCEEDED.value

Row = tuple[Any, ...]


class Entry(NamedTuple):
    """One gateway, and cheap to make. `labels` is their JSON; `ending`, that a certificate is."""

    name: str
    host: str
    status: str
    labels: str
    ending: bool


@dataclass(frozen=True, slots=True)
class Index:
    """`entries` are sorted, what needs a person first. `counts` is by status, over all."""

    entries: tuple[Entry, ...]
    counts: Mapping[str, int]
    ending: int
    labels: tuple[str, ...]

    def matching(self, view: View) -> list[Entry]:
        found = iter(self.entries)
        if view.status:
            found = (one for one in found if one.status == view.status)
        if view.certificate == ENDING:
            found = (one for one in found if one.ending)
        if view.name:
            part = view.name.lower()
            found = (one for one in found if part in one.name.lower() or part in one.host.lower())
        if view.label:
            fitting = {text for text in {one.labels for one in self.entries} if _has(text, view)}
            found = (one for one in found if one.labels in fitting)
        return list(found)


def read_rows(connection: sqlite3.Connection, tenant: str) -> list[Row]:
    """What `make_index` takes: a row for each gateway, by name."""
    return connection.execute(
        "SELECT name, host, status, cause, labels, "
        "CASE encryption_mode WHEN 'NONE' THEN NULL ELSE certificate_digest END "
        "FROM gateways WHERE tenant = ? ORDER BY lower(name), name",
        (tenant,),
    ).fetchall()


def make_index(
    rows: Sequence[Row],
    anchors: Mapping[str, str | None],
    server_end: Callable[[str], str | None],
    now: datetime,
) -> Index:
    """`server_end` says when the certificate ends that a gateway's server has shown, if soon.

    Times are compared as text: all are stamps.
    """
    urgent, soon = stamp(now + _URGENT), stamp(now + SOON)
    by_need: list[list[Entry]] = [[] for _ in range(_WELL + 1)]
    for name, host, status, cause, labels, digest in rows:
        end = _first(anchors.get(digest), server_end(name)) if digest else None
        ending = end is not None and end <= soon
        if status == _SUCCEEDED and not ending:
            need = _WELL
        else:
            need = _need(status, cause, urgent=end is not None and end <= urgent, soon=ending)
        by_need[need].append(Entry(name, host, status, labels, ending))
    entries = tuple(entry for level in by_need for entry in level)
    found = Counter(entry.status for entry in entries)
    return Index(
        entries,
        {state: found[state] for state in STATUS_WORDS},
        sum(entry.ending for entry in entries),
        tuple(_most_used(Counter(entry.labels for entry in entries))),
    )


def _first(one: str | None, other: str | None) -> str | None:
    return min(one, other) if one and other else one or other


def _need(status: str, cause: str | None, *, urgent: bool, soon: bool) -> int:
    if status == StatusState.FAILED:
        return _FAILED
    if status == StatusState.DISCONNECTED:
        meant = cause in {Cause.DECLARED, Cause.UNDECLARED}
        return _DISCONNECTED if meant else _CUT_OFF
    if urgent:
        return _ENDING_NOW
    if status == StatusState.CONNECTING:
        return _CONNECTING
    return _ENDING_SOON if soon else _WELL


def _has(labels: str, view: View) -> bool:
    name, equals, value = view.label.partition("=")
    return any(name == one and (not equals or value == other) for one, other in json.loads(labels))


def _most_used(texts: Mapping[str, int]) -> Iterator[str]:
    pairs: Counter[str] = Counter()
    for text, count in texts.items():
        for name, value in json.loads(text):
            pairs[f"{name}={value}"] += count
    yield from sorted(pair for pair, _ in pairs.most_common(MAX_LABELS))
