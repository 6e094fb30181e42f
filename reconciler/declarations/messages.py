"""Schema errors in words: for each a rule, a message and a hint.

Neither library's own message is ever used, since both quote what they judged. Everything here is
made from the path, the keyword and the schema; a value is quoted only where it cannot be a
password.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.declarations.value_messages import KEY_HINTS, about_value
from reconciler.declarations.wording import nearest, quote
from reconciler.model import PASSWORD_FIELD
from reconciler.schemas import SchemaError

Path = tuple[str | int, ...]

TOKEN: Final = "token"  # noqa: S105 - the name of a setting


@dataclass(frozen=True, slots=True)
class SchemaFault:
    """One schema error in words. `at_key` says that the key at `path` is wrong, not its value.

    The path of a missing key is where it would stand. `meant` is the key that an unknown one was
    probably meant to be.
    """

    path: Path
    rule: str
    message: str
    hint: str = ""
    at_key: bool = False
    meant: str | None = None

    @property
    def is_lack(self) -> bool:
        """Whether something is missing, or empty."""
        return self.rule == "missing-key" or self.rule in _MISSING

    @property
    def depends(self) -> bool:
        """Whether it is missed only because of what other keys say."""
        return self.rule in _MISSING


def in_words(errors: Iterable[SchemaError], empty: Collection[str] = ()) -> list[SchemaFault]:
    """Every error once, in the order of the schema; of one value or key only the first.

    `empty` are keys that were given as null or "" and so left out of what was judged.
    """
    found: dict[tuple[Path, bool], SchemaFault] = {}
    for error in errors:
        for fault in _faults(error, empty):
            found.setdefault((fault.path, fault.at_key), fault)
    # a misspelt key is one mistake: what it was meant to be is not missing as well
    meant = {(*fault.path[:-1], fault.meant) for fault in found.values() if fault.meant}
    return [fault for fault in found.values() if fault.path not in meant or not fault.is_lack]


def _faults(error: SchemaError, empty: Collection[str]) -> Iterator[SchemaFault]:
    path: Path = error.path
    for holder, guarded in _GUARDED.items():
        if holder in path or (error.keyword == "type" and path[-1:] == (holder,)):
            yield guarded(path, error.keyword)
            return
    if error.of_name:
        yield _bad_key(error, path)
    elif error.keyword == "additionalProperties":
        yield from _unknown_keys(error, path)
    elif error.keyword == "required":
        yield from _missing_keys(error, path, empty)
    else:
        yield _bad_value(error, path)


# -- passwords and tokens ------------------------------------------------------------------------


def _password(path: Path, keyword: str) -> SchemaFault:
    if path[-1] == "secret" and keyword in {"pattern", "maxLength", "minLength"}:
        return SchemaFault(
            path,
            "bad-secret-name",
            f"the name of the secret in {PASSWORD_FIELD} cannot be one",
            "a name has 1 to 128 letters, digits, '.', '_' and '-'; a password never stands here",
        )
    return SchemaFault(
        path[: path.index(PASSWORD_FIELD) + 1],
        "literal-password",
        f"{PASSWORD_FIELD} must be {{secret: NAME}} and nothing else: "
        "a password never stands in a declaration",
        "store the password in a sops file under a name and write {secret: NAME}",
    )


def _token(path: Path, keyword: str) -> SchemaFault:
    if path[-1] == "env" and keyword in {"pattern", "maxLength"}:
        return SchemaFault(
            path,
            "bad-environment-name",
            "the variable that holds the token must begin with GATEWAYS_",
            "write capital letters, digits and underscores, such as GATEWAYS_TOKEN",
        )
    return SchemaFault(
        path[: path.index(TOKEN) + 1],
        "literal-token",
        "token must be {env: NAME} and nothing else: a token never stands in a file",
        "write {env: GATEWAYS_TOKEN} and set that variable where the command runs",
    )


_GUARDED: Final[Mapping[str, Callable[[Path, str], SchemaFault]]] = {
    PASSWORD_FIELD: _password,
    TOKEN: _token,
}


# -- keys ----------------------------------------------------------------------------------------

# what other programs call our fields, and what people take them for
_ALIASES: Final = {
    "protocol": "protocol_type",
    "type": "protocol_type",
    "server": "host",
    "hostname": "host",
    "smtp_host": "host",
    "user": "user_id",
    "username": "user_id",
    "login": "user_id",
    "password": PASSWORD_FIELD,
    "pass": PASSWORD_FIELD,
    "from": "default_email_address",
    "email": "default_email_address",
    "address": "default_email_address",
    "name": "default_user_name",
    "display_name": "default_user_name",
    "auth": "authentication_flag",
    "authentication": "authentication_flag",
    "charset": "encoding_mode",
    "encoding": "encoding_mode",
    "encryption": "encryption_mode",
    "security": "encryption_mode",
    "tls": "encryption_mode",
    "ssl": "encryption_mode",
    "certificate": "certificate_file",
    "cert": "certificate_file",
    "ca_file": "certificate_file",
    "protected": "protect",
    "enabled": "state",
}


_VERY_CLOSE: Final = 0.85


def _unknown_keys(error: SchemaError, path: Path) -> Iterator[SchemaFault]:
    known: dict[str, str] = {name: name for name in error.schema["properties"]}
    aliases = {name: field for name, field in _ALIASES.items() if field in known}
    keys = tuple(known)
    for key in error.value:
        if key not in known:
            word = str(key)
            # what stands for another word is guessed from that word itself, not from its likes
            meant = nearest(word, aliases, close=1) or nearest(word, keys)
            meant = meant or nearest(word, aliases, close=_VERY_CLOSE)
            guess = f"; did you mean {quote(meant)}?" if meant else ""
            hint = f"write {meant}, or delete it" if meant else _where_keys(path, known)
            message = f"unknown key {quote(str(key))}{guess}"
            yield SchemaFault((*path, key), "unknown-key", message, hint, at_key=True, meant=meant)


def _where_keys(path: Path, known: Mapping[str, str]) -> str:
    if not path and "gateways" in known:
        return "a gateway's fields stand below its name in gateways, or in defaults"
    return "known keys: " + ", ".join(known)


def _bad_key(error: SchemaError, path: Path) -> SchemaFault:
    name = error.value
    rule = error.schema.get("$comment", "bad-name")
    whose = _NAMED.get(rule, "a target" if path[:1] == ("targets",) else "a gateway")
    if error.keyword == "maxLength":
        rule, hint = "too-long", f"at most {error.limit}"
        message = f"the name of {whose} has {len(name)} characters"
    else:
        message, hint = f"{quote(str(name))} cannot be the name of {whose}", KEY_HINTS[rule]
    return SchemaFault((*path, name), rule, message, hint, at_key=True)


_NAMED: Final = {"bad-label": "a label", "bad-variable-name": "a variable"}


def _missing_keys(error: SchemaError, path: Path, empty: Collection[str]) -> Iterator[SchemaFault]:
    rule = error.schema.get("$comment", "missing-key")
    for key in error.limit:
        if key not in error.value:
            yield missing((*path, key), rule, given=key in empty)


def missing(path: Path, rule: str = "missing-key", *, given: bool = False) -> SchemaFault:
    """A required key that is not there, or was `given` empty."""
    key = str(path[-1])
    why, hint = _MISSING.get(rule, ("", ""))
    message = f"{key} is {'empty' if given else 'missing'}{why}"
    return SchemaFault(path, rule, message, hint or _ADD.get(key, f"add {key}"))


_MISSING: Final = {
    "certificate-required": (
        ", but TLS and STARTTLS need a trust anchor",
        "add certificate_file with the chain's root certificate; encryption_mode defaults to TLS",
    ),
    "credentials-required": (
        ", but the gateway logs in unless authentication_flag is false",
        "",
    ),
    "sender-required": (", but SMTP needs a sender", ""),
    "platform-settings": (", but the platform of this target needs it", ""),
}

_ADD: Final = {
    "protocol_type": "add protocol_type: SMTP, POP3 or IMAP",
    "host": "add host: the name or address of the mail server",
    "gateways": "add gateways: with the gateways under their names",
    "user_id": "add user_id, the login name",
    PASSWORD_FIELD: f"add {PASSWORD_FIELD}: {{secret: NAME}}",
    "default_email_address": "add default_email_address: support@example.com",
    "targets": "add targets: {local: {platform: embedded}}",
    "platform": "add platform: embedded, http or runbook",
    "url": "add url: https://gateways.example.com",
    "tenant": "add tenant, whose gateways these are",
    TOKEN: "add token: {env: GATEWAYS_TOKEN}",
    "record": "add record: the file that records what the console holds",
}


# -- values --------------------------------------------------------------------------------------


def _bad_value(error: SchemaError, path: Path) -> SchemaFault:
    if error.value in (None, "") and path and path[-1] in {"protocol_type", "host"}:
        return missing(path, given=True)
    rule, message, hint = about_value(error)
    return SchemaFault(path, rule, message, hint)
