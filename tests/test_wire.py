"""Gateways as JSON: what goes out comes back the same, and what is something else is refused."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import (
    Actor,
    ActualGateway,
    Cause,
    Certificate,
    DesiredGateway,
    EncryptionMode,
    Failure,
    FailureKind,
    Fingerprint,
    Gateway,
    Place,
    ProtocolType,
    ReceiveFrom,
    Secret,
    State,
    Status,
    StatusState,
    WhenFailed,
)
from reconciler.wire import actor_data, actual_data, certificates_of, desired_data
from reconciler.wire_reading import Reader, actor_from

TEXTS: Final = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
CERTIFICATES: Final = st.builds(Certificate, st.just("certs/a.pem"), TEXTS)
GATEWAYS: Final = st.builds(
    Gateway,
    name=TEXTS,
    protocol_type=st.sampled_from(ProtocolType),
    host=st.just("mail.example.com"),
    port=st.integers(1, 65_535),
    user_id=st.none() | TEXTS,
    default_email_address=st.none() | TEXTS,
    default_user_name=st.none() | TEXTS,
    authentication_flag=st.booleans(),
    encoding_mode=TEXTS,
    encryption_mode=st.sampled_from(EncryptionMode),
    certificate=st.none() | CERTIFICATES,
    case_sensitivity=st.booleans(),
    receive_from=st.sampled_from(ReceiveFrom),
    state=st.sampled_from(State),
    when_failed=st.sampled_from(WhenFailed),
    protect=st.booleans(),
    labels=st.dictionaries(TEXTS, TEXTS, max_size=3).map(lambda one: tuple(sorted(one.items()))),
)
STATUSES: Final = st.builds(
    Status,
    state=st.sampled_from(StatusState),
    since=TEXTS,
    checked_at=TEXTS,
    failure=st.none()
    | st.builds(Failure, st.sampled_from(FailureKind), st.none() | TEXTS, TEXTS, TEXTS),
    cause=st.none() | st.sampled_from(Cause),
    actor=TEXTS,
)
ACTUAL: Final = st.builds(
    ActualGateway,
    gateway=GATEWAYS,
    status=STATUSES,
    revision=st.integers(1).map(str),
    owner=st.none() | TEXTS,
    fingerprint=st.none() | st.just(Fingerprint("abcd1234", "e" * 64)),
    has_password=st.booleans(),
    applied=st.none() | GATEWAYS,
)

GATEWAY: Final = Gateway(
    "support",
    ProtocolType.IMAP,
    "mail.example.com",
    993,
    user_id="support@example.com",
    certificate=Certificate("certs/root.pem", "PEM"),
    labels=(("env", "test"),),
)
STATUS: Final = Status(
    StatusState.FAILED, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z",
    Failure(FailureKind.AUTH, "user_password", "refused", "correct it"), Cause.BY_HAND, "alice",
)  # fmt: skip
STORED: Final = ActualGateway(
    GATEWAY,
    STATUS,
    "3",
    "ours",
    Fingerprint("abcd1234", "e" * 64),
    has_password=True,
    applied=replace(GATEWAY, port=1),
)


def sent(actual: ActualGateway) -> Any:
    """As it is after the journey."""
    return json.loads(json.dumps(actual_data(actual)))


@given(actual=ACTUAL, unchanged=st.booleans())
def test_a_gateway_comes_back_the_same(actual: ActualGateway, *, unchanged: bool) -> None:
    stored = replace(actual, applied=actual.gateway) if unchanged else actual
    found = Reader(certificates_of(stored)).actual(sent(stored))
    assert found == stored
    assert ("applied" in sent(stored)) is (stored.applied != stored.gateway)


def test_what_gateways_have_in_common_is_kept_once() -> None:
    reader = Reader(certificates_of(STORED))
    first, second = (reader.actual(sent(STORED)) for _ in range(2))
    assert first.gateway.certificate is second.gateway.certificate
    assert first.gateway.host is second.gateway.host
    assert first.status.since is second.status.since


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every member of the JSON, by its path."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield (*path, name)
            yield from places(value, (*path, name))


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The same with another value there; without the member for Ellipsis."""
    copy = json.loads(json.dumps(data))
    place = copy
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


MAY_BE_NONE: Final = {
    "user_id", "default_email_address", "default_user_name", "certificate_file", "owner",
    "fingerprint", "failure", "cause", "field", "applied",
}  # fmt: skip
ANY_TEXT: Final = MAY_BE_NONE - {"cause"} | {
    "name", "host", "encoding_mode", "file", "since", "checked_at", "actor", "message", "hint",
    "revision", "env",
}  # fmt: skip


@pytest.mark.parametrize("path", list(places(sent(STORED))), ids=".".join)
@pytest.mark.parametrize("wrong", [..., None, 7, 1.5, "unknown", True, [], {}], ids=repr)
def test_what_is_not_as_it_is_written_is_refused(path: tuple[str, ...], wrong: Any) -> None:
    """P14: by an error that the reader promises, or it is read as what it is."""
    name, right = path[-1], sent(STORED)
    for step in path:
        right = right[step]
    data = put(sent(STORED), path, wrong)
    reader = Reader(certificates_of(STORED))
    harmless = (
        (wrong is None and name in MAY_BE_NONE)
        or (wrong == "unknown" and not isinstance(right, dict) and name in ANY_TEXT)
        or (type(wrong) is type(right) and not isinstance(right, str | dict))
        or (wrong == {} and name == "labels")
        or (wrong is ... and name in {"applied", "env"})
    )
    if harmless:
        reader.actual(data)
        return
    with pytest.raises((LookupError, TypeError, ValueError)):
        reader.actual(data)


def test_a_certificate_must_be_the_one_that_is_spoken_of() -> None:
    data = sent(STORED)
    (digest,) = certificates_of(STORED)
    for pems in ({}, {digest: "another"}, {digest: 7}):
        with pytest.raises((LookupError, TypeError, ValueError)):
            Reader(pems).actual(data)  # type: ignore[arg-type]


def test_a_password_goes_in_by_what_is_written_for_a_write() -> None:
    wish = DesiredGateway(
        GATEWAY,
        lambda: Place("x"),
        ciphertext="c" * 64,
        password=Secret("hunter2"),
        fingerprint=Fingerprint("abcd1234", "e" * 64),
    )
    data = json.loads(json.dumps(desired_data(wish)))
    assert data["password"] == {
        "known": True,
        "value": "hunter2",
        "fingerprint": "abcd1234:" + "e" * 64,
        "ciphertext": "c" * 64,
    }
    assert data["gateway"] == sent(STORED)["gateway"]
    assert data["certificates"] == dict(certificates_of(STORED))
    assert "hunter2" not in json.dumps(actual_data(STORED))
    nothing = desired_data(replace(wish, password=None, fingerprint=None, password_known=False))
    assert nothing["password"]["value"] is None
    assert nothing["password"]["known"] is False


def test_who_acts_comes_back_the_same() -> None:
    for actor in (Actor("alice"), Actor("alice", "c0ffee", "run-1")):
        assert actor_from(json.loads(json.dumps(actor_data(actor)))) == actor
    for wrong in (
        {},
        {"name": 7, "commit": None, "run": ""},
        {"name": "a", "commit": 1, "run": ""},
    ):
        with pytest.raises((LookupError, TypeError)):
            actor_from(wrong)
