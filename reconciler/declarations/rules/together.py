"""Rules about gateways beside each other, and about what none of them uses.

Of two that clash, each gets a problem that names the other, so that whichever file a change
touches, the clash shows there.
"""

import posixpath
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from reconciler.declarations.certificates import CertificateReading
from reconciler.declarations.declared import Declared
from reconciler.declarations.rules.facts import (
    IMAP,
    POP3,
    SEVERITIES,
    SMTP,
    Context,
    Used,
    problem,
)
from reconciler.declarations.wording import quote
from reconciler.model import CERTIFICATE_FIELD, Place, Problem, State, Target

TogetherRule = Callable[[Sequence[Declared], Context], Iterator[Problem]]

CERTIFICATE_FOLDER: Final = "certs"

Clashing = TypeVar("Clashing")

_DISCONNECTED: Final = State.DISCONNECTED.value


def duplicate_gateway(declared: Sequence[Declared], _context: Context) -> Iterator[Problem]:
    for one, other in _clashes((gateway.name, gateway) for gateway in declared):
        yield problem(
            one,
            None,
            "duplicate-gateway",
            f"gateway {one.name!r} is declared twice, also at {other.place()}",
            "give one of them another name, or take it away",
        )


def names_differ_in_case(declared: Sequence[Declared], _context: Context) -> Iterator[Problem]:
    by_name = {gateway.name: gateway for gateway in declared}
    for one, other in _clashes((name.lower(), gateway) for name, gateway in by_name.items()):
        yield problem(
            one,
            None,
            "gateway-names-differ-in-case",
            f"gateway {one.name!r} differs from {other.name!r} at {other.place()} only in case",
            "give one of them another name",
        )


def duplicate_pop3_mailbox(declared: Sequence[Declared], _context: Context) -> Iterator[Problem]:
    for one, other in _clashes(_mailboxes(declared, POP3)):
        yield problem(
            one,
            "user_id",
            "duplicate-pop3-mailbox",
            f"gateways {one.name!r} and {other.name!r} fetch the same POP3 mailbox, which only one"
            " session at a time can open",
            "keep one of the two",
        )


def duplicate_mailbox(declared: Sequence[Declared], _context: Context) -> Iterator[Problem]:
    """Where one of the two is IMAP; two POP3 gateways are an error of their own."""
    for one, other in _clashes(_mailboxes(declared, POP3, IMAP)):
        if one.fields["protocol_type"] == other.fields["protocol_type"] == POP3:
            continue
        if one.name == other.name:
            continue  # declared twice, which is an error of its own
        yield problem(
            one,
            "user_id",
            "duplicate-mailbox",
            f"gateways {one.name!r} and {other.name!r} fetch the same mailbox: every mail comes in"
            " twice",
            "keep one of the two",
        )


def duplicate_sender(declared: Sequence[Declared], _context: Context) -> Iterator[Problem]:
    senders = (
        ((*key, gateway.fields.get("default_email_address")), gateway)
        for key, gateway in _mailboxes(declared, SMTP)
    )
    for one, other in _clashes(senders):
        yield problem(
            one,
            "default_email_address",
            "duplicate-sender",
            f"gateways {one.name!r} and {other.name!r} send from the same address through the same"
            " account",
            "keep one of the two",
        )


def unused_secret(declared: Sequence[Declared], context: Context) -> Iterator[Problem]:
    used = {gateway.secret for gateway in declared} | context.elsewhere.secrets
    used.add(context.target.fingerprint_key)
    for name, secret in sorted(context.secrets.names.items()):
        if name not in used:
            yield _in_file(
                secret.place,
                name,
                "unused-secret",
                f"no gateway uses the secret {name!r}",
                "take it away with sops, once nothing else reads it",
            )


def unreferenced_certificate(declared: Sequence[Declared], context: Context) -> Iterator[Problem]:
    """A private key is told of even here: it is in git, whether or not a gateway uses it."""
    used = {reading.file for reading in _readings(declared, context)}
    used |= context.elsewhere.certificates
    for reading in _lying_about(used, context):
        if reading.file in used:
            continue
        if reading.problem and reading.problem[0] == "certificate-private-key":
            yield _in_file(Place(reading.file), "", *reading.problem)
        else:
            yield _in_file(
                Place(reading.file),
                "",
                "unreferenced-certificate",
                f"no gateway uses the certificate file {quote(reading.file)}",
                "take it away, or name it in certificate_file",
            )


def duplicate_certificate(declared: Sequence[Declared], context: Context) -> Iterator[Problem]:
    readings = {reading.file: reading for reading in _readings(declared, context)}
    held = (
        (reading.certificate.pem, reading)
        for _, reading in sorted(readings.items())
        if reading.certificate
    )
    for one, other in _clashes(held):
        yield _in_file(
            Place(one.file),
            "",
            "duplicate-certificate",
            f"certificate file {quote(one.file)} holds the same as {quote(other.file)}",
            "keep one of the two, so that a renewal cannot miss the other",
        )


TOGETHER_RULES: Final[tuple[TogetherRule, ...]] = (
    duplicate_gateway,
    names_differ_in_case,
    duplicate_pop3_mailbox,
    duplicate_mailbox,
    duplicate_sender,
    unused_secret,
    unreferenced_certificate,
    duplicate_certificate,
)


def used_by(declared: Sequence[Declared], target: Target, context: Context) -> Used:
    """What the gateways of one target need, so that the rules of another leave it alone."""
    secrets = {gateway.secret for gateway in declared} | {target.fingerprint_key}
    return Used(
        frozenset(name for name in secrets if name),
        frozenset(reading.file for reading in _readings(declared, context)),
    )


def _clashes(
    keyed: Iterable[tuple[Hashable, Clashing]],
) -> Iterator[tuple[Clashing, Clashing]]:
    """Each of those that share a key, with another one: the first, and for the first the second."""
    groups: defaultdict[Hashable, list[Clashing]] = defaultdict(list)
    for key, one in keyed:
        groups[key].append(one)
    for group in groups.values():
        if len(group) > 1:
            yield group[0], group[1]
            for one in group[1:]:
                yield one, group[0]


def _mailboxes(
    declared: Sequence[Declared], *protocols: str
) -> Iterator[tuple[tuple[str, str], Declared]]:
    """Host and user of the gateways that log in and are not meant to be disconnected."""
    for gateway in declared:
        fields = gateway.fields
        host, user = fields.get("host"), fields.get("user_id")
        if fields.get("protocol_type") not in protocols or fields.get("state") == _DISCONNECTED:
            continue
        if isinstance(host, str) and isinstance(user, str) and user:
            yield (host.lower(), user), gateway


def _readings(declared: Sequence[Declared], context: Context) -> Iterator[CertificateReading]:
    for gateway in declared:
        path = gateway.fields.get(CERTIFICATE_FIELD)
        if isinstance(path, str) and path:
            yield context.certificates.read(gateway.source.file, path)


def _lying_about(used: Iterable[str], context: Context) -> Iterator[CertificateReading]:
    """The files in the folder for certificates, and in every folder that one was taken from."""
    folders = {posixpath.dirname(file) for file in used}
    folders.add(posixpath.join(context.target.declarations, CERTIFICATE_FOLDER))
    for folder in sorted(folders):
        yield from context.certificates.inside(folder)


def _in_file(place: Place, path: str, slug: str, message: str, hint: str) -> Problem:
    return Problem(place, path, slug, SEVERITIES[slug], message, hint)
