"""The error tree and its exit codes: one class for each way a command can end.

An exit code is a contract that scripts rely on; `--help` lists them. Errors are caught once, at the
border in `cli/`, and shown without a traceback.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum

from reconciler.model import Problem


class ExitCode(IntEnum):
    DONE = 0
    BUG = 1
    CHANGES = 2
    INVALID = 3
    BLOCKED = 4
    STALE = 5
    LOCKED = 6
    PARTLY_APPLIED = 7
    SECRETS = 8
    CONNECTION = 9
    PLATFORM = 10
    USAGE = 64
    INTERRUPTED = 130


_PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.BUG,
    ExitCode.PLATFORM,
    ExitCode.SECRETS,
    ExitCode.INVALID,
    ExitCode.LOCKED,
    ExitCode.STALE,
    ExitCode.PARTLY_APPLIED,
    ExitCode.CONNECTION,
    ExitCode.BLOCKED,
    ExitCode.CHANGES,
    ExitCode.DONE,
)


def gravest(codes: Iterable[ExitCode]) -> ExitCode:
    """The code to end with where several hold."""
    found = set(codes)
    return next((code for code in _PRECEDENCE if code in found), ExitCode.DONE)


class GatewaysError(Exception):
    """Something that a user can act on: a message, and a hint that says how."""

    exit_code = ExitCode.BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(GatewaysError):
    """Declarations or settings are invalid; `problems` has every one of them."""

    exit_code = ExitCode.INVALID

    def __init__(self, message: str, hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, hint)
        self.problems = tuple(problems)


class UnfitMessage(InvalidInput):
    """A message cannot be sent as it is; `field` is the one to mend, `why` says what is wrong."""

    def __init__(self, field: str, why: str, hint: str = "") -> None:
        super().__init__(f"{field}: {why}", hint)
        self.field = field
        self.why = why


class Blocked(GatewaysError):
    """The guard refuses the whole plan."""

    exit_code = ExitCode.BLOCKED


class NotOurs(Blocked):
    """The gateway belongs to another owner."""


class StalePlan(GatewaysError):
    """A saved plan no longer matches the declarations or the platform, or was altered."""

    exit_code = ExitCode.STALE


class Locked(GatewaysError):
    """Another apply, or a service on the same database, holds the lock."""

    exit_code = ExitCode.LOCKED


class SecretsUnavailable(GatewaysError):
    """A secrets file cannot be read: no key, a wrong key, tampered, or not encrypted."""

    exit_code = ExitCode.SECRETS


class PlatformUnavailable(GatewaysError):
    """The platform cannot be reached, refuses us, or cannot store what it is given."""

    exit_code = ExitCode.PLATFORM


class Sealed(PlatformUnavailable):
    """The key for passwords at rest is missing, wrong, or not fit for use."""


class KeyReused(PlatformUnavailable):
    """The key of a write was used for another write."""


class RevisionMoved(GatewaysError):
    """The gateway changed between plan and write: nothing was written for it."""

    exit_code = ExitCode.STALE


class AlreadyThere(RevisionMoved):
    """The gateway to be created is on the platform already."""


class NotThere(RevisionMoved):
    """The gateway is not on the platform."""


class WrongUsage(GatewaysError):
    """The command line does not make sense."""

    exit_code = ExitCode.USAGE
