"""Rules that a schema expresses, of declarations and of gateways.yaml, and those of variables."""

from functools import partial
from typing import Final

from reconciler.declarations.catalogue import Rule
from reconciler.model import Severity

_PAGE: Final = "Configuring Email Gateways (cec_04_0103)"
_PAGE_2023: Final = "Configuring Email Gateways, 2023 (cec_04_0177)"
_M365: Final = "Configuring M365 Email Gateways (cec_04_0379)"
_MONITORING: Final = "Monitoring Gateways (cec_04_0380)"
_CERTIFICATES: Final = "Managing Certificates (cec_04_0129)"

_error = partial(Rule, severity=Severity.ERROR)

_SHAPE: Final = (
    _error(
        slug="unknown-key",
        title="A key that nothing reads",
        why="A misspelt key would otherwise be ignored in silence, and its default would count.",
        mend="Write the key that the hint names, or delete it.",
        ids=("S01",),
    ),
    _error(
        slug="missing-key",
        title="A required key is missing or empty",
        why="Every gateway needs a protocol and a host; settings need their targets.",
        mend="Add the key under the gateway, or under the defaults of its file.",
        ids=("S04", "S06"),
        source=_PAGE,
    ),
    _error(
        slug="wrong-type",
        title="A value of another kind than the key takes",
        why='The text "465" is not the number 465, and the text "True" is not true.',
        mend="Write numbers, true and false without quotes, and text that looks so in quotes.",
        ids=("S07", "S11", "S20"),
        source=_PAGE,
    ),
    _error(
        slug="not-in-list",
        title="A value that is not among those possible",
        why="The console offers a list here; capital and small letters count.",
        mend="Write one of the values that the hint lists.",
        ids=("S04", "S08", "S19", "S21"),
        source=f"{_PAGE_2023}; {_PAGE}; {_MONITORING}",
    ),
    _error(
        slug="too-long",
        title="A text with more characters than the console takes",
        why="The console refuses it: a user id has at most 500 characters.",
        mend="Shorten it.",
        ids=("S02", "S06", "S13", "S16", "S18"),
        source=_PAGE,
    ),
    _error(
        slug="bad-characters",
        title="A text with control characters or marks of writing direction",
        why="A line break in a name would start a header of its own in every mail that is sent, "
        "and a mark of direction makes a reviewer read something else than what is there.",
        mend="Delete the character that the message names.",
        ids=("S13", "S18"),
    ),
    _error(
        slug="bad-value",
        title="A value that the schema refuses",
        why="The value does not fit in a way that has no rule of its own.",
        mend="Compare it with what `gateways schema` prints for the key.",
    ),
)

_FIELDS: Final = (
    _error(
        slug="bad-name",
        title="A name with characters that a name cannot have",
        why="Names stand in plans, on the monitoring page and in commands.",
        mend="Write 1 to 64 letters, digits, '.', '_' and '-', first a letter or digit.",
        ids=("S02",),
        source=_M365,
    ),
    _error(
        slug="bad-host",
        title="A host that is neither a host name nor an address",
        why="The host is what is looked up, connected to and compared with the certificate.",
        mend="Write a host name, an IPv4 or an IPv6 address, without scheme, port or brackets.",
        ids=("S06",),
        source=_PAGE,
    ),
    _error(
        slug="bad-port",
        title="A port that no server can listen on",
        why="Ports are whole numbers from 1 to 65535.",
        mend="Ask those who run the mail server, or leave the key out for the usual port.",
        ids=("S07",),
        source=_PAGE,
    ),
    _error(
        slug="bad-address",
        title="A default email address that is not one address",
        why="It stands in MAIL FROM and in the From header of everything that is sent.",
        mend="Write one address without a display name, such as support@example.com.",
        ids=("S16",),
        source=_PAGE,
    ),
    _error(
        slug="bad-certificate-path",
        title="A certificate path that cannot be followed",
        why="The file must come with the declaration and be one that the console can import.",
        mend="Write a path relative to the declaring file, without '..', to a .pem, .crt or .cer.",
        ids=("S10",),
        source=_CERTIFICATES,
    ),
    _error(
        slug="bad-label",
        title="A label that cannot be selected by",
        why="Labels stand in commands: -l NAME=VALUE.",
        mend="Write a name of letters, digits, '.', '_', '/' and '-', and a value of plain text.",
    ),
    _error(
        slug="literal-password",
        title="Something else than the name of a secret as password",
        why="What is in git is read by everyone who can read the repository, for ever.",
        mend="Put the password in a sops file and write user_password: {secret: NAME}. "
        "A password that was committed must be changed on the mail server.",
        ids=("S14",),
    ),
    _error(
        slug="bad-secret-name",
        title="A name that no secret can have",
        why="The name must be a key of a sops file.",
        mend="Write letters, digits, dots, underscores and hyphens.",
        ids=("S14",),
    ),
    _error(
        slug="certificate-required",
        title="TLS or STARTTLS without a certificate file",
        why="The certificate file is the only trust anchor: without it no server can be trusted. "
        "encryption_mode is TLS where it is not declared.",
        mend="Add certificate_file, best with the root certificate of the server's chain.",
        ids=("S09",),
        source=_PAGE,
    ),
    _error(
        slug="credentials-required",
        title="Authentication without a user id or a password",
        why="The gateway logs in unless authentication_flag is false.",
        mend="Add user_id and user_password, or declare authentication_flag: false.",
        ids=("S12",),
        source=_PAGE,
    ),
    _error(
        slug="sender-required",
        title="An SMTP gateway without a default email address",
        why="It is the sender of everything that the gateway sends.",
        mend="Add default_email_address.",
        ids=("S17",),
    ),
)

_VARIABLES: Final = (
    _error(
        slug="undefined-variable",
        title="A variable that the target does not have",
        why="Nothing stands for it, and an empty text would be worse than an error.",
        mend="Add it to the target's variables, or give a default: {{ name | default('text') }}.",
    ),
    _error(
        slug="template-not-allowed",
        title="Something else than a variable between braces",
        why="Declarations are data: no loops, calls, attributes or arithmetic.",
        mend="Write {{ name }}, if needed with the filters lower, upper or default.",
    ),
    _error(
        slug="rendered-too-long",
        title="A text that variables make longer than 1,000 characters",
        why="No field is that long.",
        mend="Shorten the variable's value.",
    ),
)

_SETTINGS: Final = (
    _error(
        slug="unknown-target",
        title="A default target that is not among the targets",
        why="A command without -t would have nothing to work on.",
        mend="Write the name of a target.",
    ),
    _error(
        slug="unknown-platform",
        title="A platform that is not installed",
        why="Nothing could read or change its gateways.",
        mend="Write embedded, http or runbook, or install the add-on that brings the platform.",
    ),
    _error(
        slug="unknown-rule",
        title="A rule that does not exist among those made errors",
        why="A misspelt rule would stay a warning in silence.",
        mend="Write the slug that the warning shows in brackets.",
    ),
    _error(
        slug="owner-required",
        title="A shared platform without an owner",
        why="The owner tells our gateways from those of others; without it none would be safe.",
        mend="Add owner to gateways.yaml, a name that no other repository uses.",
    ),
    _error(
        slug="platform-settings",
        title="A setting that the platform of a target needs is missing",
        why="http needs url, tenant and token; runbook needs record.",
        mend="Add the setting to the target.",
    ),
    _error(
        slug="shared-record",
        title="Two targets with one record",
        why="Each target would take the gateways of the other for its own: it would disconnect"
        " those that it does not declare, and find every password rotated.",
        mend="Name another file as record of one of them, or keep one target.",
    ),
    _error(
        slug="bad-path",
        title="A path that leaves the project",
        why="Settings come with a pull request: they must not point outside the checkout.",
        mend="Write a path relative to the project, without '..'.",
    ),
    _error(
        slug="bad-url",
        title="A URL that is not the origin of a service",
        why="A token is sent to it: only https, or http on this machine, and no path or login.",
        mend="Write https://HOST or https://HOST:PORT.",
    ),
    _error(
        slug="bad-environment-name",
        title="A token from an environment variable of another kind",
        why="Settings come with a pull request: a name that begins with GATEWAYS_ cannot make a "
        "job give away another credential.",
        mend="Put the token in a variable such as GATEWAYS_TOKEN.",
    ),
    _error(
        slug="literal-token",
        title="Something else than the name of an environment variable as token",
        why="What is in git is read by everyone who can read the repository.",
        mend="Write token: {env: GATEWAYS_TOKEN}, and revoke a token that was committed.",
    ),
    _error(
        slug="bad-variable-name",
        title="A variable that no {{ }} can name",
        why="Names of variables have ASCII letters, digits and underscores.",
        mend="Rename the variable.",
    ),
    _error(
        slug="bad-host-pattern",
        title="An allowed host that matches no host",
        why="It would lock out every gateway or, worse, none.",
        mend="Write a host name, an address, *.example.com, or * for all.",
    ),
    _error(
        slug="bad-name-pattern",
        title="An allowed name that matches no gateway",
        why="It would lock out every gateway or, worse, none.",
        mend="Write a gateway's name, in which * stands for any characters and ? for one.",
    ),
    _error(
        slug="bad-moment",
        title="A moment that is not one",
        why="A freeze that nobody can read freezes nothing, or for ever.",
        mend="Write date, time and offset from UTC, such as 2026-12-20T18:00:00Z.",
    ),
    _error(
        slug="bad-week",
        title="A time of the week that is not one",
        why="A freeze that nobody can read freezes nothing, or for ever.",
        mend="Write two days and times, such as Fri 18:00 - Mon 06:00.",
    ),
    _error(
        slug="bad-timezone",
        title="A time zone that is not known here",
        why="The time of a weekly freeze means nothing without its zone.",
        mend="Write a name of the IANA time zone database, such as Europe/Berlin, or UTC. A "
        "machine without that database (Debian: tzdata) knows UTC only.",
    ),
    _error(
        slug="bad-freeze",
        title="A freeze without a beginning or an end",
        why="It would freeze nothing, or for ever.",
        mend="Write from and until, or weekly, and not both; from must come before until.",
    ),
)

RULES: Final[tuple[Rule, ...]] = (*_SHAPE, *_FIELDS, *_VARIABLES, *_SETTINGS)
