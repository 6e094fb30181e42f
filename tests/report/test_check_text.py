"""What trying a connection found, on one line."""

import pytest

from reconciler.model import Check, CheckState, Failure, FailureKind
from reconciler.report.plan import check_text

WORKS, FAILS, UNKNOWN = CheckState.WORKS, CheckState.FAILS, CheckState.UNKNOWN
REFUSED = Failure(FailureKind.TCP, "port", "nothing\n::error::listens \x1b[31mthere")


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (Check(WORKS, "tls"), "works, up to tls"),
        (Check(WORKS, "tls", WORKS), "works, up to tls"),
        (Check(WORKS, "login", FAILS), "works, up to login; it does not now"),
        (
            Check(WORKS, "capabilities", note="no login: not allowed"),
            "works, up to capabilities; no login: not allowed",
        ),
        (
            Check(FAILS, "tcp", failure=REFUSED),
            "fails (tcp, field port): nothing\\u000a::error::listens \\u001b[31mthere",
        ),
        (
            Check(FAILS, "tcp", FAILS, Failure(FailureKind.DNS, None, "gone")),
            "fails (dns): gone; it does not work now either",
        ),
        (Check(UNKNOWN, "", note="not tried\n"), "unknown; not tried\\u000a"),
    ],
)
def test_check_text(check: Check, text: str) -> None:
    assert check_text(check) == text
