"""Why a sops file cannot be read, in a few plain classes. No message ever holds a value."""

from enum import StrEnum


class Reason(StrEnum):
    NO_KEY = "no key at hand"
    WRONG_KEY = "no key at hand fits"
    TAMPERED = "changed without its key"
    ALTERED = "a value was altered"
    NOT_ENCRYPTED = "not encrypted"
    NOT_READABLE = "not readable"
    UNSUPPORTED = "not supported"
    FOR_SOPS = "only the sops program can judge"
    FOREIGN_SERVICE = "key service not named"
    TOOL = "a tool failed"


class SopsError(Exception):
    """One file cannot be read. `line` and `column` count from 1, and are 0 where none is known."""

    def __init__(
        self, reason: Reason, message: str, hint: str = "", *, line: int = 0, column: int = 0
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
        self.line = line
        self.column = column
