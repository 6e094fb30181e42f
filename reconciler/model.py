"""The nouns. Everything here is a value: frozen, comparable, and unable to act.

The words are those of the console page, in snake_case, so that whoever knows the page knows the
fields. Desired and actual are the same `Gateway`, so that a diff compares like with like.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

Value = str | int | bool | None | Mapping[str, str]

MASK: Final = "***"


class ProtocolType(StrEnum):
    SMTP = "SMTP"
    POP3 = "POP3"
    IMAP = "IMAP"


class EncryptionMode(StrEnum):
    NONE = "NONE"
    TLS = "TLS"
    STARTTLS = "STARTTLS"


class ReceiveFrom(StrEnum):
    """Which mail counts as new at first contact."""

    NOW = "now"
    ALL = "all"


class State(StrEnum):
    """What a declaration wants of the connection."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class WhenFailed(StrEnum):
    """What a plan proposes while the status is failed."""

    REBUILD = "rebuild"
    DISCONNECT = "disconnect"
    IGNORE = "ignore"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Action(StrEnum):
    CREATE = "create"
    EDIT = "edit"
    REBUILD = "rebuild"
    DISCONNECT = "disconnect"
    ADOPT = "adopt"


class SecretState(StrEnum):
    """All that is ever said about a password."""

    UNCHANGED = "unchanged"
    ROTATED = "rotated"
    SET = "set"
    CLEARED = "cleared"
    NOT_COMPARED = "not compared"


# Where mail servers listen (RFC 8314, RFC 3207, RFC 2595); an explicit port always wins, and
# encryption is never guessed from a port.
DEFAULT_PORTS: Final[Mapping[tuple[ProtocolType, EncryptionMode], int]] = {
    (ProtocolType.SMTP, EncryptionMode.NONE): 25,
    (ProtocolType.SMTP, EncryptionMode.STARTTLS): 587,
    (ProtocolType.SMTP, EncryptionMode.TLS): 465,
    (ProtocolType.POP3, EncryptionMode.NONE): 110,
    (ProtocolType.POP3, EncryptionMode.STARTTLS): 110,
    (ProtocolType.POP3, EncryptionMode.TLS): 995,
    (ProtocolType.IMAP, EncryptionMode.NONE): 143,
    (ProtocolType.IMAP, EncryptionMode.STARTTLS): 143,
    (ProtocolType.IMAP, EncryptionMode.TLS): 993,
}

PASSWORD_FIELD: Final = "user_password"  # noqa: S105
CERTIFICATE_FIELD: Final = "certificate_file"

CONNECTION_FIELDS: Final = frozenset(
    {
        "protocol_type",
        "host",
        "port",
        "user_id",
        PASSWORD_FIELD,
        "authentication_flag",
        "encryption_mode",
        CERTIFICATE_FIELD,
    }
)
"""An edit of one of these also makes the connection anew."""


class Secret:
    """A decrypted value that masks itself in every way of printing.

    `reveal` is the one way out. It is called where a session logs in, where a platform is sent the
    value, and where the value is judged or fingerprinted; anywhere else it is a defect.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return MASK

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Secret, (MASK,)  # a pickle would otherwise carry the value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a set of secrets would hash the plain value


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A keyed digest of a password: equal or not, and nothing more.

    Two fingerprints with different key ids cannot be compared.
    """

    key_id: str
    digest: str

    def __str__(self) -> str:
        return f"{self.key_id}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> "Fingerprint":
        key_id, _, digest = text.partition(":")
        return cls(key_id, digest)

    @classmethod
    def of(cls, secret: Secret, key: Secret, *, target: str, gateway: str) -> "Fingerprint":
        """HMAC-SHA-256 over target, gateway and value; lengths first, so that nothing shifts."""
        raw_key = key.reveal().encode()
        parts = (target.encode(), gateway.encode(), secret.reveal().encode())
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        key_id = hmac.digest(raw_key, b"fingerprint key id", "sha256").hex()[:8]
        return cls(key_id, hmac.digest(raw_key, message, "sha256").hex())


AT_BASE: Final = Fingerprint("base", "")
"""Stands for the password of the commit that is compared with: `since_base` says how it differs."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in a file something stands; lines and columns count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that a user must fix. Sorts by place. Never holds a secret's value."""

    place: Place
    path: str
    rule: str
    severity: Severity
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A trust anchor: the certificates of one file, as PEM, and the file they came from."""

    file: str
    pem: str

    @property
    def digest(self) -> str:
        return _sha256(self.pem)


@lru_cache(maxsize=256)
def _sha256(text: str) -> str:
    """Remembered, since thousands of gateways share one certificate."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Gateway:
    """The declared fields of one gateway, normalised, defaults filled in; no secret in it.

    Absent, null and "" are all None here, so that they can never make a difference.
    """

    name: str
    protocol_type: ProtocolType
    host: str
    port: int
    user_id: str | None = None
    default_email_address: str | None = None
    default_user_name: str | None = None
    authentication_flag: bool = True
    encoding_mode: str = "UTF-8"
    encryption_mode: EncryptionMode = EncryptionMode.TLS
    certificate: Certificate | None = None
    case_sensitivity: bool = False
    receive_from: ReceiveFrom = ReceiveFrom.NOW
    state: State = State.CONNECTED
    when_failed: WhenFailed = WhenFailed.REBUILD
    protect: bool = False
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, name: str, fields: Mapping[str, Any], certificate: Certificate | None) -> "Gateway":
        """Build from complete, valid fields: the one normalisation that both sides go through.

        `fields` has the keys of a declaration; `user_password` and `certificate_file` are ignored,
        since the first is a secret and the second is given as `certificate`.
        """
        get = fields.get
        protocol_type = ProtocolType(fields["protocol_type"])
        encryption_mode = EncryptionMode(get("encryption_mode") or EncryptionMode.TLS)
        flag = get("authentication_flag")
        labels = get("labels")
        return cls(
            name,
            protocol_type,
            fields["host"].lower(),
            get("port") or DEFAULT_PORTS[protocol_type, encryption_mode],
            get("user_id") or None,
            get("default_email_address") or None,
            get("default_user_name") or None,
            authentication_flag=True if flag is None else flag,
            encoding_mode=get("encoding_mode") or "UTF-8",
            encryption_mode=encryption_mode,
            certificate=certificate,
            case_sensitivity=bool(get("case_sensitivity")),
            receive_from=ReceiveFrom(get("receive_from") or ReceiveFrom.NOW),
            state=State(get("state") or State.CONNECTED),
            when_failed=WhenFailed(get("when_failed") or WhenFailed.REBUILD),
            protect=bool(get("protect")),
            labels=tuple(sorted(labels.items())) if labels else (),
        )

    def fields(self) -> dict[str, Value]:
        """Every declared field but the password, by its key in a declaration, in the page's order.

        `certificate_file` stands as the digest of its certificates: content is what counts.
        """
        # `_value_` is what `.value` looks up, at a third of its cost: 10,000 gateways have 100,000
        return {
            "protocol_type": self.protocol_type._value_,
            "host": self.host,
            "port": self.port,
            "user_id": self.user_id,
            "default_email_address": self.default_email_address,
            "default_user_name": self.default_user_name,
            "authentication_flag": self.authentication_flag,
            "encoding_mode": self.encoding_mode,
            "encryption_mode": self.encryption_mode._value_,
            CERTIFICATE_FIELD: self.certificate.digest if self.certificate else None,
            "case_sensitivity": self.case_sensitivity,
            "receive_from": self.receive_from._value_,
            "state": self.state._value_,
            "when_failed": self.when_failed._value_,
            "protect": self.protect,
            "labels": dict(self.labels),
        }

    @property
    def mailbox(self) -> tuple[str, int, str | None]:
        """Changes on one mailbox are carried out one after the other."""
        return self.host, self.port, self.user_id


@dataclass(frozen=True, slots=True)
class DesiredGateway:
    """What the declarations say of one gateway, its password resolved.

    `password` is None where none is declared, or where no key was at hand (`password_known` False).
    `since_base` is then what the ciphertexts tell, if there is a commit to compare with: rotated,
    unchanged, not compared, or nothing where its file has other keys. `where` looks up the place,
    which means reading the file's text again: few of many are shown.
    """

    gateway: Gateway
    where: Callable[[], Place] = field(repr=False, compare=False)
    secret: str | None = None
    ciphertext: str | None = None
    password: Secret | None = None
    fingerprint: Fingerprint | None = None
    password_known: bool = True
    since_base: SecretState | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def place(self) -> Place:
        """Where the gateway's name stands."""
        return self.where()


class StatusState(StrEnum):
    CONNECTING = "connecting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DISCONNECTED = "disconnected"


CONNECTION_SUCCEEDED: Final = "Connection succeeded"
"""The console's own words for a session that is up; no other status is documented."""


class FailureKind(StrEnum):
    DNS = "dns"
    TCP = "tcp"
    TLS = "tls"
    PROTOCOL = "protocol"
    AUTH = "auth"
    BUSY = "busy"
    TIMEOUT = "timeout"


class Cause(StrEnum):
    """Why a gateway is disconnected: only a disconnect by hand is undone by the next plan."""

    DECLARED = "declared"
    BY_HAND = "by hand"
    WHEN_FAILED = "when_failed"
    UNDECLARED = "undeclared"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a session could not be opened or was lost, and the declared field to blame.

    `message` is for people and holds text of ours only, with a server's words shortened and
    stripped of control characters.
    """

    kind: FailureKind
    field: str | None
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a gateway's session; `since` and `checked_at` are UTC, ISO 8601 with a Z."""

    state: StatusState
    since: str
    checked_at: str
    failure: Failure | None = None
    cause: Cause | None = None
    actor: str = ""


@dataclass(frozen=True, slots=True)
class ActualGateway:
    """What the platform has. What differs from `applied`, the fields last applied, is drift."""

    gateway: Gateway
    status: Status
    revision: str
    owner: str | None
    fingerprint: Fingerprint | None = None
    has_password: bool = False
    applied: Gateway | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a platform has, read at one moment, sorted by name.

    `supervised` says whether something keeps sessions alive between commands; where nothing does,
    a gateway that is still connecting will stay so until it is rebuilt. `told` says that this is
    what people told of it: there may be gateways of which nobody has told yet.
    """

    gateways: tuple[ActualGateway, ...]
    supervised: bool = False
    told: bool = False


@dataclass(frozen=True, slots=True)
class FieldChange:
    field: str
    before: Value
    after: Value


@dataclass(frozen=True, slots=True)
class SecretChange:
    field: str
    secret: SecretState


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning that goes with a change: the rule's slug and its message."""

    rule: str
    message: str


class CheckState(StrEnum):
    """Whether a change's connection works; `unknown` where nobody has tried."""

    WORKS = "works"
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """What trying a change's connection found; `rung` is the last one that was tried.

    `before` is what the platform knows of the connection that the change would replace, as far up
    as that rung. `note` says what was left out, and why.
    """

    state: CheckState
    rung: str
    before: CheckState = CheckState.UNKNOWN
    failure: Failure | None = None
    note: str = ""

    @property
    def breaks(self) -> bool:
        """Whether the change would end a connection that works."""
        return self.before is CheckState.WORKS and self.state is CheckState.FAILS


@dataclass(frozen=True, slots=True)
class Change:
    """One gateway's difference. `reason` is for people: nothing decides on it.

    `certificate_expires` is when the first certificate of the declared file does, UTC, ISO 8601.
    """

    gateway: str
    action: Action
    reason: str
    fields: tuple[FieldChange | SecretChange, ...] = ()
    reconnects: bool = False
    counted: bool = False
    blocked_by: str | None = None
    place: Place | None = None
    revision: str | None = None
    warnings: tuple[Warned, ...] = ()
    check: Check | None = None
    certificate_expires: str | None = None

    @property
    def blocked(self) -> bool:
        return self.blocked_by is not None


@dataclass(frozen=True, slots=True)
class Commit:
    commit: str | None
    dirty: bool


@dataclass(frozen=True, slots=True)
class Digests:
    desired: str
    actual: str
    plan: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which gateways a run looks at, on both sides: a name glob, and labels that must all match."""

    only: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A setting of the target that is one thing in the tree and another where policy comes from."""

    setting: str
    policy: str
    tree: str


def ref_text(ref: str) -> str:
    """How a commit is called to people: shortened where it was given in full."""
    return ref[:10] if _FULL_COMMIT.fullmatch(ref) else ref


_FULL_COMMIT: Final = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Plan:
    """The sorted changes of one target, as data: it holds no secret and cannot run itself.

    `blocked` are the reasons that block the plan as a whole; `complete` says that all was read;
    `refreshed`, that sessions were tried anew; `secrets_compared`, that there was a key to tell
    whether a password was rotated. `policy_from` names the commit whose policy was kept to, if it
    is not the tree's own, and `policy` where the tree would have another. `against` names the
    commit whose declarations stood in for the platform: such a plan is read, and never applied.
    """

    target: str
    platform: str
    changes: tuple[Change, ...] = ()
    unchanged: int = 0
    drift: tuple[Change, ...] = ()
    foreign: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()
    blocked: tuple[str, ...] = ()
    complete: bool = True
    digests: Digests = field(default_factory=lambda: Digests("", "", ""))
    created_at: str = ""
    tool_version: str = ""
    git: Commit | None = None
    selection: Selection = field(default_factory=Selection)
    refreshed: bool = False
    secrets_compared: bool = True
    policy_from: str = ""
    policy: tuple[PolicyChange, ...] = ()
    against: str = ""

    @property
    def planned(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if not change.blocked)

    @property
    def applicable(self) -> bool:
        return self.complete and not self.blocked

    def count(self, action: Action) -> int:
        return sum(change.action is action for change in self.planned)


class Result(StrEnum):
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one change. `written` says that the platform accepted the write.

    A change can be written and still fail, when its gateway then does not connect. `code` is the
    exit code that a failure alone would end with.
    """

    change: Change
    result: Result
    message: str = ""
    written: bool = False
    failure: Failure | None = None
    code: int = 0
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ConsoleField:
    """What to put under one label of a console page.

    An empty `value` leaves it empty. `before` is what it shows until then, where that is known and
    not the same. A password stands as the name of its secret, and never as a value.
    """

    field: str
    label: str
    value: str
    before: str | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do in a console: where, what to press, and what to fill in.

    `find` is the gateway to look for in the list. `button` is pressed to begin and `then` to end;
    either may be none. `notes` say what the vendor's pages leave open. A step that `looks` ends
    with the status that the console shows.
    """

    title: str
    menu: tuple[str, ...]
    find: str = ""
    button: str = ""
    tab: str = ""
    fields: tuple[ConsoleField, ...] = ()
    then: str = ""
    notes: tuple[str, ...] = ()
    looks: bool = False

    @property
    def secret(self) -> str | None:
        """The secret whose password is to be typed in this step."""
        return next((one.secret for one in self.fields if one.secret), None)


@dataclass(frozen=True, slots=True)
class Runbook:
    """One change as steps in a console; `recorded` are its fields that no console page has.

    `digest` tells this change from every other one of the gateway.
    """

    change: Change
    steps: tuple[Step, ...]
    recorded: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """A step of a change that was carried out by hand: who says so, and when.

    `change` is the digest of its runbook; steps count from 1, and 0 of 0 stands for a change that
    had none. `fields` are those of the step. With `changes` the whole change was carried out.
    """

    at: str
    actor: str
    commit: str | None
    run: str
    gateway: str
    action: Action
    change: str = ""
    step: int = 0
    steps: int = 0
    title: str = ""
    fields: tuple[str, ...] = ()
    changes: tuple[FieldChange | SecretChange, ...] | None = None


class RungState(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder; `milliseconds` is 0 where nothing was done."""

    name: str
    state: RungState
    detail: str = ""
    milliseconds: int = 0


@dataclass(frozen=True, slots=True)
class Ladder:
    """All rungs, in order, whatever happened; those after the first failed one are skipped."""

    gateway: str
    rungs: tuple[Rung, ...]
    failure: Failure | None = None
    transient: bool = False

    @property
    def reached_the_top(self) -> bool:
        return self.failure is None


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing is applied: between two moments, or each week between two others.

    The moments are UTC, ISO 8601 with a Z; `weekly` is written `Fri 18:00 - Mon 06:00`, in the time
    of `timezone`.
    """

    reason: str
    since: str = ""
    until: str = ""
    weekly: str = ""
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the guard allows. None lifts a budget; without globs every name and host is allowed."""

    max_disconnects: int | None = 0
    max_reconnects: int | None = None
    allow_hosts: tuple[str, ...] = ()
    allow_names: tuple[str, ...] = ()
    freeze: tuple[Freeze, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A named platform with its settings, from gateways.yaml."""

    name: str
    platform: str
    place: Place
    owner: str
    declarations: str
    secrets: tuple[str, ...]
    fingerprint_key: str = "fingerprint_key"
    database: str = ".gateways/platform.db"
    url: str | None = None
    tenant: str | None = None
    token_env: str | None = None
    record: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    select: tuple[tuple[str, str], ...] = ()
    limits: Limits = field(default_factory=Limits)
    errors: frozenset[str] = frozenset()
    sops_key_services: tuple[str, ...] = ()
    check_logins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, for the audit trail: a person or job, the commit, and the run.

    These are what the caller says of itself. `token` is what the service knows: the id of the
    token that a request came with.
    """

    name: str
    commit: str | None = None
    run: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """One entry of a platform's history: who did what to a gateway, when, and through what.

    `changes` are the fields that it changed, `owner` among them; a password is a word. `commit`
    ends in `-dirty` where it alone does not explain the change; `token` is the id of the token that
    it came with, where it came over the network.
    """

    at: str
    actor: str
    action: str
    commit: str | None = None
    run: str = ""
    changes: tuple[FieldChange | SecretChange, ...] = ()
    token: str = ""


def gateway_of(problem: Problem, names: Container[str]) -> str | None:
    """Which of `names` a problem concerns: the longest, since a name may hold dots."""
    root, _, rest = problem.path.partition(".")
    while root == "gateways" and rest:
        if rest in names:
            return rest
        rest = rest.rpartition(".")[0]
    return None


def split_problems(
    problems: Sequence[Problem],
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Errors and warnings, each in the order given."""
    errors = tuple(problem for problem in problems if problem.severity is Severity.ERROR)
    warnings = tuple(problem for problem in problems if problem.severity is Severity.WARNING)
    return errors, warnings
