"""The connection ladder: where exactly a gateway's connection stops, and which field is to blame.

It climbs the very phases that a session opens with, one by one, so that a ladder that reaches the
top and a session that opens are the same thing.
"""

from dataclasses import replace
from datetime import datetime
from time import perf_counter
from typing import Final

from reconciler.model import Gateway, Ladder, Rung, RungState, Secret
from reconciler.service.sessions import SessionError, SessionSettings, session_for
from reconciler.service.sessions.base import MailSession, Passed, Phase

WARN_DAYS: Final = 30  # a server certificate that expires sooner draws a warning

EXPIRY: Final = "expiry"


RUNGS: Final = (Phase.DNS, Phase.TCP, Phase.TLS, EXPIRY, Phase.CAPABILITIES, Phase.LOGIN)


async def climb(
    gateway: Gateway,
    password: Secret | None,
    *,
    up_to: Phase = Phase.LOGIN,
    now: datetime,
    settings: SessionSettings | None = None,
) -> Ladder:
    """Try a gateway's fields on its real server, with at most one login; changes nothing there.

    Below the login nothing secret is sent. `now` is compared with the server certificate's end.
    """
    session = session_for(gateway, password, settings)
    climbed: dict[str, Rung] = {}
    order = tuple(Phase)
    phases = order[: order.index(up_to) + 1]
    phase, started, error = phases[0], perf_counter(), None
    try:
        async with session.overall():
            for phase in phases:
                started = perf_counter()
                climbed[phase] = _passed(phase, await session.enter(phase), started)
                if phase is Phase.TLS:
                    climbed[EXPIRY] = _expiry(session, now)
    except SessionError as failed:
        error = failed
        climbed[phase] = _rung(phase, RungState.FAILED, failed.failure.message, started)
    finally:
        await session.close()
    not_climbed = "not tried" if error else "not asked for"
    rungs = tuple(
        climbed.get(name) or Rung(str(name), RungState.SKIPPED, not_climbed) for name in RUNGS
    )
    return Ladder(
        gateway.name,
        rungs,
        error.failure if error else None,
        transient=error.transient if error else False,
    )


def _passed(phase: Phase, passed: Passed, started: float) -> Rung:
    rung = _rung(phase, RungState.OK, passed.detail, started)
    return replace(rung, state=RungState.SKIPPED, milliseconds=0) if passed.skipped else rung


def _rung(phase: Phase, state: RungState, detail: str, started: float) -> Rung:
    return Rung(phase.value, state, detail, round((perf_counter() - started) * 1000))


def _expiry(session: MailSession, now: datetime) -> Rung:
    expires = session.wire.certificate_expires
    if expires is None:
        return Rung(EXPIRY, RungState.SKIPPED, "no certificate without encryption")
    days = (expires - now).days
    detail = f"the server's certificate expires on {expires:%Y-%m-%d}, in {days} days"
    return Rung(EXPIRY, RungState.WARNING if days < WARN_DAYS else RungState.OK, detail)
