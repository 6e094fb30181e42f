"""Drift, for people and as JSON: what differs, and who did it, when, and through what."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from reconciler.model import FieldChange, Happening, SecretChange
from reconciler.report.plan import value_text
from reconciler.report.safe import line, log_line
from reconciler.report.style import PLAIN, Style

_SHOWN: Final = 10
_DIRTY: Final = "-dirty"
_TAKEN_OVER: Final = "taken over"


@dataclass(frozen=True, slots=True)
class Drifted:
    """One thing that drifted; `explained` says that its commit is in our history."""

    gateway: str
    kind: str
    reason: str
    revision: str
    fields: tuple[FieldChange | SecretChange, ...]
    by: Happening | None
    explained: bool


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What `drift` found for one target; `on_the_way` are those that a plan would change anyway.

    `history_known` says that git could tell which commits are in our history.
    """

    target: str
    platform: str
    drift: tuple[Drifted, ...]
    on_the_way: tuple[str, ...]
    as_declared: int
    secrets_compared: bool
    history_known: bool


def drift_text(report: DriftReport, style: Style = PLAIN) -> str:
    return "\n".join(_lines(report, style)) + "\n"


def drift_data(report: DriftReport) -> dict[str, Any]:
    return {
        "format_version": "1.0",
        "target": report.target,
        "platform": report.platform,
        "secrets_compared": report.secrets_compared,
        "history_known": report.history_known,
        "drift": [
            {
                "gateway": one.gateway,
                "kind": one.kind,
                "reason": one.reason,
                "revision": one.revision,
                "fields": [_field_data(field) for field in one.fields],
                "by": _by_data(one.by, explained=one.explained) if one.by else None,
            }
            for one in report.drift
        ],
        "on_the_way": list(report.on_the_way),
        "summary": {
            "drifted": _drifted(report),
            "on_the_way": len(report.on_the_way),
            "as_declared": report.as_declared,
        },
    }


def _lines(report: DriftReport, style: Style) -> Iterator[str]:
    yield style.bold(f"Drift of target {line(report.target)} ({line(report.platform)})")
    for one in report.drift:
        yield ""
        yield style.action(f"  ! {line(one.gateway)}: {line(one.reason)}")
        width = max((len(log_line(field.field)) for field in one.fields), default=0)
        for field in one.fields:
            yield f"      {log_line(field.field):<{width}}  {_field_text(field, style)}"
        yield f"      {_by_text(one)}"
    taken = [line(one.gateway) for one in report.drift if one.kind == _TAKEN_OVER]
    if report.drift:
        yield ""
    if len(taken) < len(report.drift):
        yield "To undo it: gateways plan, then gateways apply. To keep it: gateways dump NAME"
    if taken:
        yield f"To take back what was taken over: gateways adopt {' '.join(taken)}"
    if report.on_the_way:
        yield ""
        yield style.dim(f"No drift, but on its way in a plan: {_names(report.on_the_way)}")
    yield ""
    yield style.bold(_summary(report))


def _summary(report: DriftReport) -> str:
    drifted = _drifted(report)
    counts = [f"{drifted} drifted" if drifted else "no drift", f"{report.as_declared} as declared"]
    if report.on_the_way:
        counts.append(f"{len(report.on_the_way)} on the way")
    if not report.secrets_compared:
        counts.append("passwords not compared")
    return ", ".join(counts)


def _drifted(report: DriftReport) -> int:
    return len({one.gateway for one in report.drift})


def _field_text(field: FieldChange | SecretChange, style: Style) -> str:
    if isinstance(field, SecretChange):
        return style.caution(f"{field.secret} on the platform")
    declared, actual = line(value_text(field.before)), line(value_text(field.after))
    return f"{actual}, where {declared} is declared"


def _by_text(one: Drifted) -> str:
    by = one.by
    if by is None:
        return "by whom is not in the platform's history"
    through = [line(by.action), _commit_text(by, explained=one.explained)]
    if by.run:
        through.append(f"run {line(by.run)}")
    if by.token:
        through.append(f"token {line(by.token)}")
    return f"by {line(by.actor) or 'somebody'} at {line(by.at)} ({', '.join(through)})"


def _commit_text(by: Happening, *, explained: bool) -> str:
    if not by.commit:
        return "of no commit"
    commit = by.commit.removesuffix(_DIRTY)
    if commit != by.commit:
        return f"uncommitted changes on {line(commit[:10])}"
    return f"commit {line(commit[:10])}" + ("" if explained else ", which is not in this history")


def _names(names: tuple[str, ...]) -> str:
    shown = line(", ".join(names[:_SHOWN]))
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _field_data(field: FieldChange | SecretChange) -> dict[str, Any]:
    if isinstance(field, SecretChange):
        return {"field": field.field, "secret": field.secret.value}
    return {"field": field.field, "declared": field.before, "actual": field.after}


def _by_data(by: Happening, *, explained: bool) -> dict[str, Any]:
    return {
        "actor": by.actor,
        "at": by.at,
        "action": by.action,
        "commit": by.commit,
        "in_history": explained,
        "run": by.run,
        "token": by.token,
    }
