"""How far each gateway's connection gets, rung by rung."""

from collections.abc import Sequence
from typing import Any

from reconciler.model import Ladder, Rung, RungState
from reconciler.report.safe import line, log_line
from reconciler.report.style import PLAIN, Paint, Style


def ladders_text(ladders: Sequence[Ladder], style: Style = PLAIN) -> str:
    return "\n".join(text for ladder in ladders for text in _lines(ladder, style)) + "\n"


def ladders_data(ladders: Sequence[Ladder]) -> dict[str, Any]:
    return {"format_version": "1.0", "gateways": [_data(ladder) for ladder in ladders]}


def _lines(ladder: Ladder, style: Style) -> list[str]:
    verdict = style.good("ok") if ladder.reached_the_top else style.bad("failed")
    lines = [f"{style.bold(log_line(ladder.gateway))}: {verdict}"]
    for rung in ladder.rungs:
        paint = _paint(rung.state, style)
        spent = f" ({rung.milliseconds} ms)" if rung.milliseconds else ""
        text = f"  {log_line(rung.name):<12} {paint(f'{rung.state:<8}')} {line(rung.detail)}{spent}"
        lines.append(text.rstrip())
    if ladder.failure:
        blame = f"field {ladder.failure.field}: " if ladder.failure.field else ""
        lines.append(f"  {style.bad(line(blame + ladder.failure.message))}")
        if ladder.failure.hint:
            lines.append(f"  hint: {line(ladder.failure.hint)}")
    return lines


def _data(ladder: Ladder) -> dict[str, Any]:
    failure = ladder.failure
    return {
        "name": ladder.gateway,
        "ok": ladder.reached_the_top,
        "kind": failure.kind.value if failure else None,
        "field": failure.field if failure else None,
        "message": failure.message if failure else "",
        "hint": failure.hint if failure else "",
        "rungs": [_rung_data(rung) for rung in ladder.rungs],
    }


def _rung_data(rung: Rung) -> dict[str, Any]:
    return {
        "name": str(rung.name),
        "result": rung.state.value,
        "detail": rung.detail,
        "milliseconds": rung.milliseconds,
    }


def _paint(state: RungState, style: Style) -> Paint:
    match state:
        case RungState.OK:
            return style.good
        case RungState.WARNING:
            return style.caution
        case RungState.FAILED:
            return style.bad
        case RungState.SKIPPED:
            return style.dim
