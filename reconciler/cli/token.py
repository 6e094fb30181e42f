"""gateways token: who may call a service's API."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli.common import Settings, global_options, pass_settings, say
from reconciler.cli.streams import result, tell
from reconciler.errors import ExitCode, WrongUsage
from reconciler.report.safe import json_text, line

if TYPE_CHECKING:
    from reconciler.service.access import TokenRow, Tokens

LONGEST: Final = 3650
_NOTE: Final = 200
_ROLES: Final = ("read", "operate", "apply", "send")

_database = click.option(
    "--database", required=True, metavar="PATH", help="The database of the service."
)


@click.group("token")
@global_options(("text", "json"))
def command() -> None:
    """Tokens: who may call the API of a gateway service.

    They are made on the service's machine, in its database, also while it runs. No gateways.yaml is
    needed.
    """


@command.command("new")
@_database
@click.option("--tenant", required=True, help="Whose gateways it is for.")
@click.option(
    "--role",
    required=True,
    type=click.Choice(_ROLES),
    help="What it may do: apply includes operate, which includes read; send is for messages.",
)
@click.option(
    "--url",
    metavar="ORIGIN",
    help="Where clients may send it, for example https://gateways.example.com; "
    "without it, only to a service on their own machine.",
)
@click.option(
    "--days",
    type=click.IntRange(1, LONGEST),
    default=90,
    show_default=True,
    help="How long it is good for.",
)
@click.option("--note", default="", help="What it is for; the list shows it.")
@global_options(("text",))
@pass_settings
def new(  # noqa: PLR0913 - one for each option
    settings: Settings,
    *,
    database: str,
    tenant: str,
    role: str,
    url: str | None,
    days: int,
    note: str,
) -> int:
    """Make a token and print it, alone and only now: the service keeps a hash of it.

    The database is made if there is none.
    """
    from reconciler.clock import now
    from reconciler.service.access import Role, Tokens
    from reconciler.service.beside import beside

    _check_tenant(tenant)
    _check_note(note)
    origin = _origin(url)
    with beside(Path(settings.directory, database)) as connection:
        tokens = Tokens(connection, now)
        made = tokens.make(tenant, Role(role), origin=origin, days=days, note=note)
        row = next(one for one in tokens.listed(tenant) if one.id == made.id)
        _audit(tokens, "token new", row)
    say(
        settings,
        f"token {row.id} of tenant {tenant}, role {role}, good until {row.expires_at}; "
        "it is shown only this once",
    )
    result(f"{made.text().reveal()}\n")
    return ExitCode.DONE


@command.command("list")
@_database
@click.option("--tenant", help="Only the tokens of this tenant.")
@global_options(("text", "json"))
@pass_settings
def listed(settings: Settings, *, database: str, tenant: str | None) -> int:
    """List tokens; what is secret of them is nowhere to be seen."""
    from reconciler.clock import now, stamp
    from reconciler.report.tokens import tokens_text
    from reconciler.service.access import Tokens
    from reconciler.service.database import open_readable
    from reconciler.service.faults import translated

    path = _existing(settings, database)
    connection = open_readable(path)
    if connection is None:
        raise _absent(database)
    with translated(path):
        rows = Tokens(connection, now).listed(tenant)
    connection.close()
    tokens = _data(rows, stamp(now()))
    if settings.json:
        result(json_text({"format_version": "1.0", "tokens": tokens}) + "\n")
    else:
        result(tokens_text(tokens, settings.style()))
    return ExitCode.DONE


@command.command("revoke")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_database
@global_options(("text",))
@pass_settings
def revoke(settings: Settings, ids: tuple[str, ...], *, database: str) -> int:
    """End tokens at once: a service that runs refuses them from their next request on.

    ID is the twelve letters that the list shows; the whole text of a token is taken as well.
    """
    from reconciler.clock import now
    from reconciler.service.access import Tokens
    from reconciler.service.beside import beside

    with beside(_existing(settings, database)) as connection:
        tokens = Tokens(connection, now)
        for token_id in map(_id_of, ids):
            before = tokens.revoke(token_id)
            if before is None:
                raise WrongUsage(
                    f"there is no token {token_id!r}", "gateways token list shows them"
                )
            if before.revoked_at:
                say(settings, f"token {token_id} was revoked already, at {before.revoked_at}")
            else:
                _audit(tokens, "token revoke", before)
    for token_id in map(_id_of, ids):
        tell(f"{token_id}: revoked\n")
    return ExitCode.DONE


def _check_tenant(tenant: str) -> None:
    from reconciler import schemas

    if not schemas.gate("project", "short_name")(tenant):
        raise WrongUsage(
            f"--tenant {line(tenant)}: this is no name of a tenant",
            "write 1 to 64 ASCII letters, digits, '.', '_' and '-', first a letter or digit",
        )


def _check_note(note: str) -> None:
    if len(note) > _NOTE or not note.isprintable():
        raise WrongUsage(f"--note: at most {_NOTE} characters on one line, all of them visible")


def _origin(url: str | None) -> str | None:
    """The origin of a URL that a client may use for its target. Raises WrongUsage."""
    from reconciler import schemas
    from reconciler.tokens import origin_of

    if url is None:
        return None
    # the same rule as for `url` of a target, which is where a client takes it from
    gate = schemas.compile_gate(schemas.load("project")["$defs"]["target"]["properties"]["url"])
    try:
        if gate(url):
            return origin_of(url)
    except ValueError:
        pass  # a port that is none, which the schema lets pass
    raise WrongUsage(
        "--url: this is not the origin of a service",
        "write https://HOST or https://HOST:PORT; http is for localhost only",
    )


def _id_of(text: str) -> str:
    """The id, of a whole token too, which must not be repeated on a screen. Raises WrongUsage."""
    from reconciler.tokens import PREFIX, Token

    if not text.startswith(PREFIX):
        return line(text)
    try:
        return Token.parse(text).id
    except ValueError as error:
        raise WrongUsage(f"the token cannot be read: {error}") from None


def _existing(settings: Settings, database: str) -> Path:
    from reconciler.service.database import has_content

    path = Path(settings.directory, database)
    if not has_content(path):
        raise _absent(database)
    return path


def _absent(database: str) -> WrongUsage:
    return WrongUsage(f"there is no database {database}", "name the one that the service uses")


def _audit(tokens: "Tokens", action: str, row: "TokenRow") -> None:
    from reconciler.cli.actor import current_actor
    from reconciler.clock import stamp
    from reconciler.service.store import AuditEntry, Store

    actor = current_actor()
    Store(tokens.connection, row.tenant).write_audit(
        AuditEntry(
            at=stamp(tokens.clock()),
            actor=actor.name,
            commit=None,
            run=actor.run,
            gateway="",
            action=action,
            revision="0",
            changes=json.dumps([{"token": row.id, "role": row.role.value}]),
        )
    )


def _state(row: "TokenRow", now: str) -> str:
    if row.revoked_at:
        return "revoked"
    return "expired" if row.expires_at <= now else "good"


def _data(rows: "tuple[TokenRow, ...]", now: str) -> list[dict[str, Any]]:
    return [
        {
            "id": row.id,
            "tenant": row.tenant,
            "role": row.role.value,
            "state": _state(row, now),
            "origin": row.origin,
            "note": row.note,
            "created_at": row.created_at,
            "expires_at": row.expires_at,
            "revoked_at": row.revoked_at,
        }
        for row in rows
    ]
