"""The runbook platform: the contract, and what a record in git adds to it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from demo.mailserver import MailServer
from reconciler.errors import InvalidInput, Locked, PlatformUnavailable
from reconciler.model import (
    CONNECTION_SUCCEEDED,
    Action,
    Actor,
    ActualGateway,
    Cause,
    FieldChange,
    Gateway,
    Place,
    ProtocolType,
    StatusState,
    Target,
    Tick,
)
from reconciler.platforms import Platform, TickedWrite, is_by_hand, open_platform
from reconciler.platforms.runbook import RunbookPlatform
from tests.platforms.contract import (
    ACTOR,
    PASSWORD,
    SECONDS,
    PlatformContract,
    Platforms,
    only,
    server,
    wanted,
    write,
)
from tests.service.mounts import need_own_mounts

__all__ = ["server"]  # a fixture is found by its name in this module

CHECKOUT: Final = Path(__file__).parents[2]
RECORD: Final = "aicc.json"

_NO_SESSION = "no session, so what a mail server answers is not seen"
_NO_PAUSE = "a write has no pause in which it could be cancelled"
_NO_NETWORK = "no network, so a write is never repeated without knowing whether it was stored"
HOLDS_NOT: Final = {
    "test_a_refresh_logs_in_and_stores_nothing": _NO_SESSION,
    "test_create_then_settle_connects": _NO_SESSION,
    "test_without_authentication_nobody_logs_in": _NO_SESSION,
    "test_settling_what_is_settled_makes_no_contact": _NO_SESSION,
    "test_a_wrong_password_is_blamed": _NO_SESSION,
    "test_a_missing_password_is_told_without_a_contact": _NO_SESSION,
    "test_a_silent_server_is_a_timeout": _NO_SESSION,
    "test_a_busy_server_is_asked_again": _NO_SESSION,
    "test_refused_logins_end_at_three": _NO_SESSION,
    "test_refreshes_do_not_add_up_to_a_locked_account": _NO_SESSION,
    "test_a_refresh_leaves_alone_what_was_refused_through_another_gateway": _NO_SESSION,
    "test_a_refresh_that_is_accepted_forgets_what_refreshes_were_refused": _NO_SESSION,
    "test_a_refresh_makes_one_contact_for_equal_connections": _NO_SESSION,
    "test_a_parked_login_is_tried_once_more_by_force": _NO_SESSION,
    "test_force_ends_what_refreshes_were_refused": _NO_SESSION,
    "test_edit_with_reconnect_connects_anew": _NO_SESSION,
    "test_rebuild_makes_one_connection_anew": _NO_SESSION,
    "test_disconnect_says_why_when_and_who": _NO_SESSION,
    "test_a_disconnect_during_a_contact_stands": _NO_SESSION,
    "test_a_cancelled_writer_leaves_the_others_alone": _NO_PAUSE,
    "test_a_repeated_write_gives_the_same_answer_and_writes_nothing": _NO_NETWORK,
    "test_a_key_is_good_for_one_write": _NO_NETWORK,
}


class Watched(RunbookPlatform):
    """With somebody who looks at Gateway Monitoring whenever a connection is waited for."""

    async def settle(self, name: str, *, seconds: float) -> ActualGateway:
        actual = await super().settle(name, seconds=seconds)
        if actual.status.state is not StatusState.CONNECTING:
            return actual
        with self._lock.write():
            record = self._file.read()
            seen = TickedWrite(ACTOR, "", shows=CONNECTION_SUCCEEDED)
            after = self._shown(actual, seen)
            self._file.write(replace(record, gateways={**record.gateways, name: after}))
        return after


@pytest.fixture
def platforms(tmp_path: Path) -> Platforms:
    def open_one(owner: str = "ours", **settings: Any) -> Platform:
        return Watched(tmp_path, RECORD, owner, **settings)

    return open_one


class TestContract(PlatformContract):
    """What needs a session or a network is left out, by name and reason."""


for _name in HOLDS_NOT:
    setattr(TestContract, _name, None)


def test_what_is_left_out_is_of_the_contract() -> None:
    assert HOLDS_NOT.keys() <= vars(PlatformContract).keys()
