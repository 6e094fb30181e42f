"""Rules about the certificate file: what is in it, and whether it fits the host.

What depends on the file alone is found once a file, however many gateways share it.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from reconciler.declarations.certificate_facts import CertificateFacts
from reconciler.declarations.certificates import CertificateReading, Fault
from reconciler.declarations.rules.facts import Facts, problem
from reconciler.declarations.wording import quote
from reconciler.model import CERTIFICATE_FIELD, Problem

NOTICE: Final = timedelta(days=30)

FileRule = Callable[[CertificateReading, datetime], Fault | None]

_RENEW: Final = "get the current root certificate of the mail server's operator"


def certificate_problems(facts: Facts) -> Iterator[Problem]:
    """All that is wrong with the certificate file of an encrypted gateway."""
    reading = reading_of(facts)
    if reading is None:
        return
    for slug, message, hint in _faults(facts, reading):
        yield problem(facts.declared, CERTIFICATE_FIELD, slug, message, hint)
    if reading.is_leaf:
        mismatch = leaf_name_mismatch(facts, reading)
        if mismatch:
            yield mismatch


def unread_certificate(facts: Facts) -> Iterator[Problem]:
    """Without encryption only the file itself counts: it would be stored with the gateway."""
    reading = reading_of(facts)
    if reading is not None and reading.problem:
        yield problem(facts.declared, CERTIFICATE_FIELD, *reading.problem)


def reading_of(facts: Facts) -> CertificateReading | None:
    path = facts.fields.get(CERTIFICATE_FIELD)
    if not path:
        return None
    return facts.context.certificates.read(facts.declared.source.file, path)


def certificate_expired(reading: CertificateReading, now: datetime) -> Fault | None:
    """Only where nothing else is left: a bundle may carry yesterday's root beside today's."""
    if reading.usable(now) or any(fact.not_before > now for fact in reading.facts):
        return None
    last = max(fact.not_after for fact in reading.facts)
    return "certificate-expired", f"{_the(reading)} expired on {last:%Y-%m-%d}", _RENEW


def certificate_not_yet_valid(reading: CertificateReading, now: datetime) -> Fault | None:
    if reading.usable(now):
        return None
    starts = [fact.not_before for fact in reading.facts if fact.not_before > now]
    if not starts:
        return None
    message = f"{_the(reading)} is valid only from {min(starts):%Y-%m-%d} on"
    return "certificate-not-yet-valid", message, "keep today's root certificate in the file too"


def certificate_expires_soon(reading: CertificateReading, now: datetime) -> Fault | None:
    """A successor in the same file silences the warning."""
    last = max(fact.not_after for fact in reading.facts)
    if not reading.usable(now) or last - now > NOTICE:
        return None
    message = f"{_the(reading)} expires on {last:%Y-%m-%d}, within {NOTICE.days} days"
    return (
        "certificate-expires-soon",
        message,
        "add its successor to the file now; both may stand in it until the change is over",
    )


def expired_beside_valid(reading: CertificateReading, now: datetime) -> Fault | None:
    expired = sum(fact.not_after < now for fact in reading.facts)
    if not expired or not reading.usable(now):
        return None
    message = f"{expired} of {len(reading.facts)} certificates in {quote(reading.file)} expired"
    return "expired-certificate-in-bundle", message, "take what has expired out of the file"


def leaf_certificate(reading: CertificateReading, _now: datetime) -> Fault | None:
    """A self-signed server has no issuer that could be named instead."""
    if not reading.is_leaf or all(fact.self_issued for fact in reading.facts):
        return None
    return (
        "leaf-certificate",
        f"{_the(reading)} is a server's own: the gateway fails when the server renews it",
        "use the root certificate that issued it",
    )


def weak_certificate(reading: CertificateReading, _now: datetime) -> Fault | None:
    weakness = next((fact.weakness for fact in reading.facts if fact.weakness), None)
    if weakness is None:
        return None
    return (
        "weak-certificate",
        f"{_the(reading)} has {weakness}, which current TLS libraries refuse",
        "have the mail server's operator issue a stronger one, RSA 2048 with SHA-256 at least",
    )


def certificate_extension(reading: CertificateReading, _now: datetime) -> Fault | None:
    """Both forms are usual in .cer and .crt; .pem promises text."""
    if not reading.der or not reading.file.endswith(".pem"):
        return None
    return (
        "certificate-extension",
        f"{_the(reading)} holds binary DER, and its name ends in .pem",
        "rename it to .cer, or convert it: openssl x509 -inform der -in FILE -out NEW.pem",
    )


def leaf_name_mismatch(facts: Facts, reading: CertificateReading) -> Problem | None:
    if any(_fits(facts, fact) for fact in reading.facts):
        return None
    names = sorted({str(name) for fact in reading.facts for name in (*fact.names, *fact.addresses)})
    listed = ", ".join(map(quote, names[:3])) + (", …" if names[3:] else "")
    return problem(
        facts.declared,
        CERTIFICATE_FIELD,
        "leaf-name-mismatch",
        f"{_the(reading)} is for {listed or 'no host'}, not for host {facts.host!r}",
        "use the root certificate of this host's server, or correct the host",
    )


FILE_RULES: Final[tuple[FileRule, ...]] = (
    certificate_expired,
    certificate_not_yet_valid,
    certificate_expires_soon,
    expired_beside_valid,
    leaf_certificate,
    weak_certificate,
    certificate_extension,
)


def _faults(facts: Facts, reading: CertificateReading) -> tuple[Fault, ...]:
    files, now = facts.context.certificates, facts.context.now
    faults = files.remembered(reading.file, now)
    if faults is None:
        if reading.problem:
            faults = (reading.problem,)
        else:
            found = (rule(reading, now) for rule in FILE_RULES)
            faults = tuple(fault for fault in found if fault)
        files.remember(reading.file, now, faults)
    return faults


def _the(reading: CertificateReading) -> str:
    return f"the certificate in {quote(reading.file)}"


def _fits(facts: Facts, certificate: CertificateFacts) -> bool:
    """As a TLS library matches: exact, or a wildcard for the whole leftmost label."""
    if facts.address is not None:
        return facts.address in certificate.addresses
    if facts.host in certificate.names:
        return True
    _, _, parent = facts.host.partition(".")
    return "." in parent and f"*.{parent}" in certificate.names
