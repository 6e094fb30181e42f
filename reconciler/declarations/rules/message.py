"""Rules about the fields that shape messages, and about names."""

from typing import Final

from reconciler.declarations.rules.facts import IMAP, POP3, SMTP, Facts, is_meant, problem
from reconciler.declarations.wording import quote
from reconciler.model import Problem, ReceiveFrom

SHORT_NAME: Final = 10

_SENDING_ONLY: Final = ("default_email_address", "default_user_name")
_RECEIVING_ONLY: Final = ("case_sensitivity", "receive_from")
_DEFAULTS: Final = frozenset({ReceiveFrom.NOW.value})  # spelling out a default misleads nobody


def without_effect_on_receiving(facts: Facts) -> Problem | None:
    return _without_effect(facts, _SENDING_ONLY, "only sending (SMTP) uses it")


def without_effect_on_sending(facts: Facts) -> Problem | None:
    return _without_effect(facts, _RECEIVING_ONLY, "only receiving (IMAP, POP3) uses it")


def _without_effect(facts: Facts, keys: tuple[str, ...], because: str) -> Problem | None:
    set_here = [
        key
        for key in keys
        if is_meant(facts, key, "protocol_type") and facts.fields[key] not in _DEFAULTS
    ]
    if not set_here:
        return None
    if len(set_here) > 1:
        because = because.replace(" it", " them")
    return problem(
        facts.declared,
        set_here[0],
        "field-without-effect",
        f"{' and '.join(set_here)} {'has' if len(set_here) == 1 else 'have'} no effect on"
        f" {facts.protocol}: {because}",
        f"take {' and '.join(set_here)} away",
    )


def case_sensitive_senders(facts: Facts) -> Problem | None:
    if not facts.fields.get("case_sensitivity"):
        return None
    return problem(
        facts.declared,
        "case_sensitivity",
        "case-sensitive-senders",
        "case_sensitivity true makes Ann@example.com and ann@example.com two senders",
        "write case_sensitivity: false, or leave it out",
    )


def unencodable_sender_name(facts: Facts) -> Problem | None:
    name = facts.fields.get("default_user_name")
    mode = facts.fields.get("encoding_mode")
    if not name or not mode or name.isascii():
        return None
    try:
        name.encode(mode)
    except UnicodeEncodeError as fault:
        missing = name[fault.start : fault.start + 1]
        return problem(
            facts.declared,
            "default_user_name",
            "unencodable-sender-name",
            f"default_user_name holds {missing!r}, which {mode} cannot write",
            "write encoding_mode: UTF-8, or leave it out",
        )
    return None


def non_utf8_encoding(facts: Facts) -> Problem | None:
    mode = facts.fields.get("encoding_mode")
    if not mode or mode == "UTF-8":
        return None
    return problem(
        facts.declared,
        "encoding_mode",
        "non-utf8-encoding",
        f"encoding_mode {mode} cannot write every language that customers use",
        "write encoding_mode: UTF-8, or leave it out, unless a recipient is known to need this",
    )


def sender_differs_from_login(facts: Facts) -> Problem | None:
    user = facts.fields.get("user_id")
    address = facts.fields.get("default_email_address")
    if not user or not address or not facts.authentication or "@" not in user:
        return None
    if user.lower() == address.lower():
        return None
    return problem(
        facts.declared,
        "default_email_address",
        "sender-differs-from-login",
        f"default_email_address {quote(address)} is not the mailbox that logs in, {quote(user)}:"
        " the server may refuse it as a sender",
        "use the login's own address, or have the server's operator allow this sender",
    )


def long_name(facts: Facts) -> Problem | None:
    name = facts.declared.name
    if facts.context.target.platform != "runbook":
        return None
    if len(name) <= SHORT_NAME and name.isascii() and name.isalnum():
        return None
    return problem(
        facts.declared,
        None,
        "long-name",
        f"gateway name {name!r} is not at most {SHORT_NAME} letters and digits: some consoles"
        " refuse it",
        f"use at most {SHORT_NAME} letters and digits, for instance {_shortened(name)!r}",
    )


def is_smtp(facts: Facts) -> bool:
    return facts.protocol == SMTP


def is_receiving(facts: Facts) -> bool:
    return facts.protocol in {POP3, IMAP}


def _shortened(name: str) -> str:
    return "".join(character for character in name if character.isalnum())[:SHORT_NAME]
