"""What docs/sessions.md says of seconds and numbers is what the supervisor does."""

from pathlib import Path
from typing import Final

from reconciler.service.refusals import MAX_REFUSALS
from reconciler.service.sessions.connecting import HEAD_START_SECONDS
from reconciler.service.supervisor import backoff, hosts, keeper
from reconciler.service.supervisor.settings import SupervisorSettings
from reconciler.service.work import KEEP_ALIVE_SECONDS

PAGE: Final = " ".join((Path(__file__).parents[2] / "docs/sessions.md").read_text().split())
SETTINGS: Final = SupervisorSettings()


def test_pace() -> None:
    assert f"never more than {SETTINGS.host_connections} in any second" in PAGE
    assert f"and {SETTINGS.all_connections} in all" in PAGE
    assert f"tried after {HEAD_START_SECONDS} s" in PAGE


def test_pauses() -> None:
    assert (KEEP_ALIVE_SECONDS, "the next keep-alive (a minute)" in PAGE) == (60, True)
    assert (backoff.BASE_SECONDS, backoff.MOST_SECONDS, SETTINGS.stable) == (1, 300, 300)
    assert "The next attempt follows within a second" in PAGE
    assert "up to five minutes" in PAGE
    assert "five minutes of a stable session" in PAGE
    assert (keeper.PATIENCE, "is asked three times" in PAGE) == (3, True)


def test_refusals() -> None:
    assert (MAX_REFUSALS, "is tried three times in all" in PAGE) == (3, True)
    assert (SETTINGS.refused, "five to ten minutes between" in PAGE) == (300, True)
    assert (hosts.LIE_LEAST, hosts.LIE_SHARE, hosts.LIE_SECONDS) == (3, 0.2, 300)
    assert "within five minutes, a server refuses at least three" in PAGE
    assert "more than a fifth" in PAGE
