"""The rig's servers answer on several loopback addresses, each with one fault of its own."""

from pathlib import Path

from tests.rig.certificates import DAY, Authority

GOOD = "127.0.0.1"  # also reached as localhost
EXPIRED = "127.0.0.2"  # its certificate has expired
OTHER_NAME = "127.0.0.3"  # its certificate is for another name, and for no address
SELF_SIGNED = "127.0.0.4"  # its certificate is issued by nobody else
NO_STARTTLS = "127.0.0.5"  # offers no STARTTLS; logins are allowed in plain text
FACES = (GOOD, EXPIRED, OTHER_NAME, SELF_SIGNED, NO_STARTTLS)


def write_certificates(folder: Path, authority: Authority) -> None:
    """A pair of files for each face, named after its address."""
    pairs = {
        GOOD: authority.issue(("localhost", "mail.example.test"), (GOOD, "::1")),
        EXPIRED: authority.issue(("localhost",), (EXPIRED,), valid=(-20 * DAY, -DAY)),
        OTHER_NAME: authority.issue(("other.example.test",)),
        SELF_SIGNED: authority.issue(("localhost",), (SELF_SIGNED,), self_signed=True),
        NO_STARTTLS: authority.issue(("localhost",), (NO_STARTTLS,)),
    }
    for address, pair in pairs.items():
        pair.write(folder, address)
