"""A gateway as a row, and back. Pure.

Ten thousand rows are read at each plan, so a row becomes values directly, by position, and equal
strings, labels and certificates are shared.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.by_value import (
    CAUSES,
    ENCRYPTIONS,
    KINDS,
    PROTOCOLS,
    RECEIVE,
    STATES,
    STATUSES,
    WHEN_FAILED,
)
from reconciler.model import (
    ActualGateway,
    Certificate,
    Failure,
    Fingerprint,
    Gateway,
    Status,
)

DECLARED: Final = (
    "name",
    "protocol_type",
    "host",
    "port",
    "user_id",
    "default_email_address",
    "default_user_name",
    "authentication_flag",
    "encoding_mode",
    "encryption_mode",
    "certificate_file",
    "certificate_digest",
    "case_sensitivity",
    "receive_from",
    "state",
    "when_failed",
    "protect",
    "labels",
)
STATUS: Final = (
    "status",
    "status_since",
    "status_checked_at",
    "failure_kind",
    "failure_field",
    "failure_message",
    "failure_hint",
    "cause",
    "actor",
)
READ: Final = (
    *DECLARED,
    "applied",
    "owner",
    "revision",
    "fingerprint",
    "password IS NOT NULL",
    *STATUS,
)
"""What an `ActualGateway` is made of, in the order in which `Reader.actual` takes it."""

_DECLARED_COUNT: Final = len(DECLARED)
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


def declared_values(gateway: Gateway) -> tuple[Any, ...]:
    """The columns of DECLARED, as the database has them."""
    certificate = gateway.certificate
    return (
        gateway.name,
        gateway.protocol_type.value,
        gateway.host,
        gateway.port,
        gateway.user_id,
        gateway.default_email_address,
        gateway.default_user_name,
        int(gateway.authentication_flag),
        gateway.encoding_mode,
        gateway.encryption_mode.value,
        certificate.file if certificate else None,
        certificate.digest if certificate else None,
        int(gateway.case_sensitivity),
        gateway.receive_from.value,
        gateway.state.value,
        gateway.when_failed.value,
        int(gateway.protect),
        _encode(gateway.labels),
    )


def applied_text(values: Sequence[Any]) -> str:
    """The declared columns as a JSON list: what was last applied, beside what is there now."""
    return _encode(values)


def status_values(status: Status) -> tuple[Any, ...]:
    """The columns of STATUS, as the database has them."""
    failure = status.failure
    return (
        status.state.value,
        status.since,
        status.checked_at,
        failure.kind.value if failure else None,
        failure.field if failure else None,
        failure.message if failure else None,
        failure.hint if failure else None,
        status.cause.value if status.cause else None,
        status.actor,
    )


def certificates(row: Sequence[Any]) -> frozenset[str]:
    """The digests of the certificates that a row of READ speaks of, now and as last applied."""
    position = DECLARED.index("certificate_digest")
    applied = row[_DECLARED_COUNT]
    digests = {row[position], json.loads(applied)[position] if applied else None}
    return frozenset(digests - {None})


class Reader:
    """Makes gateways of rows, and shares what rows have in common. One for each reading."""

    def __init__(self, pems: Mapping[str, str]) -> None:
        self._pems = pems
        self._certificates: dict[tuple[str, str], Certificate] = {}
        self._labels: dict[str, tuple[tuple[str, str], ...]] = {"[]": ()}
        self._strings: dict[Any, Any] = {}

    def actual(self, row: Sequence[Any]) -> ActualGateway:
        """Read one row of READ.

        Raises:
            LookupError, TypeError, ValueError: the row does not hold what was written.

        """
        declared = row[:_DECLARED_COUNT]
        text, owner, revision, fingerprint, has_password, *status = row[_DECLARED_COUNT:]
        gateway = self._gateway(declared)
        applied: Gateway | None = gateway
        # nearly always equal: then nothing is parsed, and one value stands for both
        if text is None:
            applied = None
        elif text != applied_text(declared):
            applied = self._gateway(json.loads(text))
        share = self._share
        return ActualGateway(
            gateway,
            self._status(status),
            str(revision),
            share(owner),
            Fingerprint.parse(fingerprint) if fingerprint else None,
            bool(has_password),
            applied,
        )

    def _gateway(self, row: Sequence[Any]) -> Gateway:
        share = self._share
        return Gateway(
            row[0],
            PROTOCOLS[row[1]],
            share(row[2]),
            row[3],
            share(row[4]),
            share(row[5]),
            share(row[6]),
            bool(row[7]),
            share(row[8]),
            ENCRYPTIONS[row[9]],
            self._certificate(row[10], row[11]) if row[11] else None,
            bool(row[12]),
            RECEIVE[row[13]],
            STATES[row[14]],
            WHEN_FAILED[row[15]],
            bool(row[16]),
            self._labels_of(row[17]),
        )

    def _status(self, row: Sequence[Any]) -> Status:
        state, since, checked_at, kind, blamed, message, hint, cause, actor = row
        share = self._share
        return Status(
            STATUSES[state],
            share(since),
            share(checked_at),
            Failure(KINDS[kind], share(blamed), share(message), share(hint)) if kind else None,
            CAUSES[cause] if cause else None,
            share(actor),
        )

    def _certificate(self, file: str, digest: str) -> Certificate:
        key = (file, digest)
        found = self._certificates.get(key)
        if found is None:
            found = self._certificates[key] = Certificate(file, self._pems[digest])
        return found

    def _labels_of(self, text: str) -> tuple[tuple[str, str], ...]:
        found = self._labels.get(text)
        if found is None:
            found = self._labels[text] = tuple((name, value) for name, value in json.loads(text))
        return found

    def _share(self, value: Any) -> Any:
        return self._strings.setdefault(value, value)
