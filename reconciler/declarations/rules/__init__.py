"""What a schema cannot express: one function a rule, in tables that say when each one runs.

Rules are pure: they look at a declaration and a `Context`, never at a clock or the network, and
say what they found. Every slug stands in the catalogue, which also decides its severity.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from reconciler.declarations.declared import Declared
from reconciler.declarations.rules import anchors, connection, credentials, message
from reconciler.declarations.rules.facts import Context, Facts, Used, facts_of
from reconciler.declarations.rules.together import TOGETHER_RULES, used_by
from reconciler.declarations.rules.values import value_problems
from reconciler.model import DesiredGateway, Problem, Target

__all__ = [
    "Context",
    "Used",
    "check_gateway",
    "check_together",
    "check_values",
    "used_by",
]

Rule = Callable[[Facts], Problem | None]
Applies = Callable[[Facts], bool]


def _always(_facts: Facts) -> bool:
    return True


# A rule is only asked where it could have something to say: most gateways are encrypted.
GATEWAY_RULES: Final[tuple[tuple[Applies, tuple[Rule, ...]], ...]] = (
    (
        _always,
        (
            connection.host_not_allowed,
            connection.name_not_allowed,
            connection.private_host,
            connection.port_encryption_clash,
            connection.port_of_other_protocol,
            credentials.no_authentication,
            credentials.unused_credentials,
            credentials.password_login_refused,
            credentials.missing_secret,
            credentials.non_ascii_user,
            message.non_utf8_encoding,
            message.long_name,
        ),
    ),
    (
        connection.is_plaintext,
        (
            connection.plaintext_connection,
            connection.plaintext_password,
            connection.unused_certificate,
        ),
    ),
    (connection.is_starttls, (connection.starttls_connection,)),
    (connection.is_encrypted, (connection.ip_host_with_tls,)),
    (
        message.is_smtp,
        (
            message.sender_differs_from_login,
            message.unencodable_sender_name,
            message.without_effect_on_sending,
        ),
    ),
    (
        message.is_receiving,
        (
            message.case_sensitive_senders,
            message.without_effect_on_receiving,
        ),
    ),
)


def check_gateway(declared: Declared, context: Context) -> Iterator[Problem]:
    """The problems of one gateway, whose fields must satisfy the schema of a complete gateway."""
    facts = facts_of(declared, context)
    for applies, rules in GATEWAY_RULES:
        if applies(facts):
            for rule in rules:
                problem = rule(facts)
                if problem is not None:
                    yield problem
    if connection.is_encrypted(facts):
        yield from anchors.certificate_problems(facts)
    else:
        yield from anchors.unread_certificate(facts)


def check_together(declared: Sequence[Declared], context: Context) -> Iterator[Problem]:
    """The problems of all gateways of one target beside each other.

    Every gateway must be given, also those that break the schema: what they name is used, and a
    name that they take is taken.
    """
    for rule in TOGETHER_RULES:
        yield from rule(declared, context)


def check_values(
    gateways: Sequence[DesiredGateway], declared: Sequence[Declared], _target: Target
) -> Iterator[Problem]:
    """The problems of decrypted passwords. Values are judged here and never shown."""
    yield from value_problems(gateways, declared)
