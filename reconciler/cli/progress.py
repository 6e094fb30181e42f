"""An apply as it happens: lines for people, or JSON lines for programs."""

from collections.abc import Sequence
from typing import Any

from reconciler import __version__
from reconciler.cli.common import Settings
from reconciler.cli.streams import tell
from reconciler.clock import now, stamp
from reconciler.engine.apply import Started
from reconciler.model import Actor, Outcome
from reconciler.report import outcomes as report


class Progress:
    """Prints each event at once, so that whoever watches sees where an apply is."""

    def __init__(self, settings: Settings) -> None:
        self._json = settings.json
        self._style = settings.style()

    def begin(self) -> None:
        self._data({"type": "version", "at": _at(), "version": __version__})

    def locked(self, actor: Actor) -> None:
        self._data({"type": "lock", "at": _at(), "holder": actor.name, "run": actor.run})

    def show(self, event: Started | Outcome) -> None:
        if isinstance(event, Started):
            self._data(report.started_data(event.change, _at()))
        elif self._json:
            self._data(report.outcome_data(event, _at()))
        else:
            tell(report.outcome_text(event, self._style) + "\n")

    def finished(self, outcomes: Sequence[Outcome]) -> None:
        if self._json:
            self._data(report.summary_data(outcomes, _at()))
        else:
            tell(report.summary_text(outcomes, self._style))

    def _data(self, data: dict[str, Any]) -> None:
        if self._json:
            tell(report.json_line(data) + "\n")


def _at() -> str:
    return stamp(now())
