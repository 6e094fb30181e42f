"""What a refusal of the service is to the command line: an error of ours, in clean words."""

from typing import Any

import pytest

from reconciler.errors import (
    AlreadyThere,
    Blocked,
    ExitCode,
    InvalidInput,
    KeyReused,
    Locked,
    NotOurs,
    NotThere,
    PlatformUnavailable,
    RevisionMoved,
)
from reconciler.platforms.http_problems import TYPE, SnapshotGone, refusal_of
from reconciler.platforms.http_setbacks import Setback
from reconciler.service.http.problems import _KINDS, TITLES
from reconciler.service.http.problems import TYPE as SERVICE_TYPE


def refusal(slug: str, status: int = 409, *secrets: str, **members: Any) -> Setback:
    data = {"type": TYPE + slug, "status": status, "detail": "detail", "hint": "hint", **members}
    found = refusal_of(data, status, None, secrets)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("slug", "status", "kind", "code"),
    [
        ("invalid", 422, InvalidInput, ExitCode.INVALID),
        ("invalid", 400, InvalidInput, ExitCode.INVALID),
        ("too-large", 413, InvalidInput, ExitCode.INVALID),
        ("unauthorized", 401, PlatformUnavailable, ExitCode.PLATFORM),
        ("forbidden", 403, PlatformUnavailable, ExitCode.PLATFORM),
        ("not-found", 404, NotThere, ExitCode.STALE),
        ("exists", 409, AlreadyThere, ExitCode.STALE),
        ("not-ours", 409, NotOurs, ExitCode.BLOCKED),
        ("blocked", 409, Blocked, ExitCode.BLOCKED),
        ("snapshot-gone", 410, SnapshotGone, ExitCode.PLATFORM),
        ("revision-moved", 412, RevisionMoved, ExitCode.STALE),
        ("precondition-required", 428, RevisionMoved, ExitCode.STALE),
        ("key-required", 400, PlatformUnavailable, ExitCode.PLATFORM),
        ("key-reused", 422, KeyReused, ExitCode.PLATFORM),
        ("locked", 423, Locked, ExitCode.LOCKED),
        ("lock-lost", 423, Locked, ExitCode.LOCKED),
        ("too-many-requests", 429, PlatformUnavailable, ExitCode.PLATFORM),
        ("internal", 500, PlatformUnavailable, ExitCode.PLATFORM),
        ("busy", 503, PlatformUnavailable, ExitCode.PLATFORM),
        ("sealed", 503, PlatformUnavailable, ExitCode.PLATFORM),
        ("unavailable", 503, PlatformUnavailable, ExitCode.PLATFORM),
        ("storage-full", 507, PlatformUnavailable, ExitCode.PLATFORM),
        ("of-a-later-version", 418, PlatformUnavailable, ExitCode.PLATFORM),
    ],
)
def test_each_refusal_is_an_error_with_its_exit_code(
    slug: str, status: int, kind: type[Exception], code: ExitCode
) -> None:
    """P10, P11."""
    error = refusal(slug, status).error
    assert type(error) is kind
    assert error.exit_code is code
    assert (error.message, error.hint) == ("detail", "hint")


def test_both_sides_know_the_same_slugs() -> None:
    """What the service calls by one of our errors comes out as that error."""
    assert SERVICE_TYPE == TYPE
    for kind, status, slug in _KINDS:
        assert isinstance(refusal(slug, status).error, kind), slug
    for slug in TITLES:
        assert refusal(slug).error.message == "detail"


@pytest.mark.parametrize(
    ("slug", "status", "doubtful", "passing"),
    [
        ("exists", 409, False, False),
        ("revision-moved", 412, False, False),
        ("too-many-requests", 429, False, True),
        ("busy", 503, False, True),
        ("storage-full", 507, False, False),
        ("sealed", 503, False, False),
        ("unavailable", 503, True, True),
        ("internal", 500, True, True),
        ("of-a-later-version", 599, True, False),
    ],
)
def test_only_who_refused_can_say_that_nothing_was_done(
    slug: str, status: int, *, doubtful: bool, passing: bool
) -> None:
    found = refusal(slug, status)
    assert (found.doubtful, found.passing) == (doubtful, passing)


@pytest.mark.parametrize("kind", [None, 7, "about:blank", "https://example.com/urn:gateways", ""])
def test_a_problem_of_somebody_else_is_none_of_ours(kind: Any) -> None:
    assert refusal_of({"type": kind, "detail": "x"}, 409, None, ()) is None
    assert refusal_of({}, 409, None, ()) is None


def test_its_words_cannot_act_on_a_terminal() -> None:
    """A21."""
    text = "a\x1b[2Jb\r\nc\u202ed\u2066e\x00f\x9bg\u200bh"
    error = refusal("blocked", detail=text, hint=text).error
    assert error.message.isprintable()
    assert error.message == error.hint == "a [2Jb c d e f g h"
    assert len(refusal("blocked", detail="x" * 10_000).error.message) == 500


def test_its_words_hold_no_secret_that_was_sent() -> None:
    """A37: whatever a service repeats."""
    secret = "hunter2-hunter2"
    errors = [{"field": secret, "message": f"is {secret}"}]
    error = refusal(
        "invalid", 422, secret, detail=f"not {secret}", hint=f"try {secret}", errors=errors
    ).error
    assert secret not in error.message + error.hint
    assert error.message == "not *** (*** is ***)"


@pytest.mark.parametrize("errors", [None, "x", 7, {}, [None], [7], [{}], [{"field": 7}]])
def test_whatever_stands_in_its_members_is_taken(errors: Any) -> None:
    found = refusal("invalid", 422, detail=7, hint=None, title=[], errors=errors).error
    assert found.message.startswith("invalid")


def test_fields_that_the_detail_does_not_name_are_told() -> None:
    errors = [
        {"field": "gateway.host", "message": "is missing"},
        {"field": "gateway.port", "message": "must be a whole number"},
    ]
    found = refusal("invalid", 422, detail="gateway.host is missing, and 1 more", errors=errors)
    assert found.error.message == (
        "gateway.host is missing, and 1 more (gateway.port must be a whole number)"
    )


def test_what_the_detail_says_in_its_own_way_is_not_told_again() -> None:
    errors = [{"field": "attachments", "message": "more than 26 bytes"}]
    found = refusal("invalid", 422, detail="attachments: more than 26 bytes", errors=errors)
    assert found.error.message == "attachments: more than 26 bytes"
