"""Rules about logging in, as far as they need no password."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from reconciler.declarations.rules.facts import SMTP, Facts, is_meant, problem
from reconciler.declarations.wording import nearest
from reconciler.model import PASSWORD_FIELD, Problem

MICROSOFT: Final = "Microsoft"
GOOGLE: Final = "Google"

# The last two labels of hosts whose owner no longer accepts an account's password.
PROVIDERS: Final[Mapping[str, str]] = {
    "gmail.com": GOOGLE,
    "google.com": GOOGLE,
    "googlemail.com": GOOGLE,
    "hotmail.com": MICROSOFT,
    "live.com": MICROSOFT,
    "office.com": MICROSOFT,
    "office365.com": MICROSOFT,
    "office365.us": MICROSOFT,
    "outlook.cn": MICROSOFT,
    "outlook.com": MICROSOFT,
}

_WAYS_OUT: Final[Mapping[str, str]] = {
    MICROSOFT: "use the console's own M365 gateways for this mailbox, or a mail server that takes"
    " passwords",
    GOOGLE: "turn on 2-step verification and store an app password, or use a mail server that"
    " takes passwords",
}

# beyond this many secrets, looking for a similar name would cost more than it helps
_MOST_NAMES: Final = 1000


def no_authentication(facts: Facts) -> Problem | None:
    if facts.authentication:
        return None
    if facts.protocol == SMTP:
        return problem(
            facts.declared,
            "authentication_flag",
            "no-authentication",
            "authentication_flag false sends mail without logging in",
            "write authentication_flag: true with user_id and user_password, unless the server"
            " accepts this platform by its address alone",
        )
    return problem(
        facts.declared,
        "authentication_flag",
        "no-authentication-receiving",
        f"authentication_flag false: hardly any {facts.protocol} server opens a mailbox without"
        " a login",
        "write authentication_flag: true with user_id and user_password",
    )


def unused_credentials(facts: Facts) -> Problem | None:
    if facts.authentication:
        return None
    unused = [
        key for key in ("user_id", PASSWORD_FIELD) if is_meant(facts, key, "authentication_flag")
    ]
    if not unused:
        return None
    verb = "has" if len(unused) == 1 else "have"
    return problem(
        facts.declared,
        unused[0],
        "unused-credentials",
        f"{' and '.join(unused)} {verb} no effect while authentication_flag is false",
        f"write authentication_flag: true, or take {' and '.join(unused)} away",
    )


def password_login_refused(facts: Facts) -> Problem | None:
    provider = PROVIDERS.get(".".join(facts.host.rsplit(".", 2)[-2:]))
    if provider is None or not facts.authentication:
        return None
    return problem(
        facts.declared,
        "host",
        "password-login-refused-by-provider",
        f"{provider} has ended logins with an account's password, or is about to",
        _WAYS_OUT[provider],
    )


def missing_secret(facts: Facts) -> Problem | None:
    name = facts.declared.secret
    names = facts.context.secrets.names
    if name is None or name in names:
        return None
    near = nearest(name, tuple(sorted(names))) if len(names) <= _MOST_NAMES else None
    found = problem(
        facts.declared,
        PASSWORD_FIELD,
        "missing-secret",
        f"no secrets file of target {facts.context.target.name!r} holds a secret named {name!r}",
        f"did you mean {near!r}?" if near else "add it with sops to one of the secrets files",
    )
    path = (*facts.declared.path(PASSWORD_FIELD), "secret")
    return replace(found, place=facts.declared.source.place(path))


def non_ascii_user(facts: Facts) -> Problem | None:
    user = facts.fields.get("user_id")
    if not user or user.isascii():
        return None
    return problem(
        facts.declared,
        "user_id",
        "non-ascii-credentials",
        "user_id has characters outside ASCII, which many mail servers do not accept in a login",
        "ask the mail server's operator for a login name in plain ASCII",
    )
