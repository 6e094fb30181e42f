"""The console's two buttons: asked about first, then pressed through the writes of the API."""

import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from reconciler.errors import Blocked, GatewaysError, NotThere, RevisionMoved
from reconciler.model import Actor, Cause, FailureKind, ProtocolType, StatusState
from reconciler.service.access import Role
from reconciler.service.feed import About
from reconciler.service.http.guard import forbidden
from reconciler.service.http.page.board import Boards
from reconciler.service.http.page.border import PART, Form, Viewing, see_other
from reconciler.service.http.page.notices import Notice, Notices
from reconciler.service.http.page.rendering import Rendering
from reconciler.service.http.page.rows import Shown
from reconciler.service.http.page.view import View
from reconciler.service.http.page.words import count
from reconciler.service.http.problems import Problem, not_there, problem_of
from reconciler.service.store import Store
from reconciler.service.writes import Asked, Writes

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REVISION: Final = re.compile(r"[0-9]{1,18}")
_PROTECTED: Final = (
    "{name} is protected: nobody disconnects it by mistake. Set protect to false in its "
    "declaration and apply that first."
)


@dataclass(frozen=True, slots=True)
class Button:
    """`happens` says what pressing does, `refuse` why it must not be pressed, or nothing."""

    name: str
    word: str
    done: str
    happens: Callable[[Shown], Sequence[str]]
    press: Callable[[Writes, str, Asked, bool], object]
    refuses_protected: bool = False
    may_force: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before a button is pressed. `moved`: it has changed since it was shown."""

    button: Button
    one: Shown
    happens: Sequence[str]
    refused: str
    moved: bool
    offers_force: bool
    key: str
    form_token: str
    back: str


def _rebuilding(one: Shown) -> Sequence[str]:
    first = "Its session is closed and made anew with the stored password: one login."
    if one.status is StatusState.DISCONNECTED:
        first = "A session is opened with the stored password, and kept from then on."
    return first, "No message is lost meanwhile."


def _disconnecting(one: Shown) -> Sequence[str]:
    mail = "Mail stays on the mail server, and is taken in once it is connected again."
    if one.protocol_type is ProtocolType.SMTP:
        waiting = f" {count(one.mail.waiting, 'message')} waiting now." if one.mail.waiting else ""
        mail = f"Messages to be sent are kept until it is connected again.{waiting}"
    plan = ("The next plan proposes to rebuild it, since it is declared as connected.",)
    return (
        "Its session is closed, and nothing connects it again but Rebuild or an apply.",
        mail,
        *(plan if one.owner else ()),
    )


REBUILD: Final = Button(
    "rebuild",
    "Rebuild",
    "its session is being made anew",
    _rebuilding,
    lambda writes, name, asked, force: writes.rebuild(name, asked, force=force),
    may_force=True,
)
DISCONNECT: Final = Button(
    "disconnect",
    "Disconnect",
    "it is disconnected",
    _disconnecting,
    lambda writes, name, asked, _force: writes.disconnect(name, asked, cause=Cause.BY_HAND),
    refuses_protected=True,
)


class Buttons:
    def __init__(self, rendering: Rendering, boards: Boards, notices: Notices) -> None:
        self._rendering = rendering
        self._boards = boards
        self._notices = notices

    async def ask(self, viewing: Viewing, button: Button) -> web.StreamResponse:
        """The question; the page's script shows it in a dialog."""
        _check_role(viewing)
        query = viewing.request.query
        one = await self._boards.one(viewing.tenant, query.get("gateway", ""))
        if one is None:
            raise not_there("this gateway")
        protected = button.refuses_protected and one.protect
        question = Question(
            button,
            one,
            button.happens(one),
            _PROTECTED.format(name=one.name) if protected else "",
            moved=query.get("revision", one.revision) != one.revision,
            offers_force=button.may_force
            and one.trouble is not None
            and one.trouble.kind is FailureKind.AUTH,
            key=secrets.token_urlsafe(16),
            form_token=viewing.visit.form_token,
            back=_back(query).query(),
        )
        return self._rendering.page("confirm", viewing.service.clock(), ask=question)

    async def press(self, viewing: Viewing, form: Form, button: Button) -> web.StreamResponse:
        _check_role(viewing)
        name = form.get("gateway", "")
        try:
            await self._write(viewing, form, button)
        except RevisionMoved as error:
            gone = isinstance(error, NotThere)
            what = "is no longer there" if gone else "was changed meanwhile"
            told = Notice(
                "refused", f"{name} {what}: nothing was done.", "Look again, then decide."
            )
        except GatewaysError as error:
            problem = problem_of(error)
            told = Notice("refused", f"{name}: {problem.detail}", problem.hint)
        else:
            told = Notice("done", f"{name}: {button.done}.")
        self._boards.forget(viewing.tenant)
        if PART in viewing.request.headers:
            part = self._rendering.parts(viewing.service.clock()).notice(told)
            return web.Response(text=part, content_type="text/html")
        self._notices.leave(viewing.visit.id, told)
        return see_other(_back(form).url())

    async def _write(self, viewing: Viewing, form: Form, button: Button) -> None:
        name, key, revision = (form.get(field, "") for field in ("gateway", "key", "revision"))
        if not _KEY.fullmatch(key) or not _REVISION.fullmatch(revision):
            raise Problem(400, "invalid", "this is not one of the page's forms", "open it again")
        service, visit = viewing.service, viewing.visit
        actor = Actor(visit.who, run="page", token=visit.principal.token)
        asked = Asked(actor, f"page:{key}", revision)

        def write(connection: sqlite3.Connection) -> None:
            store = Store(connection, viewing.tenant)
            actual = store.find(name)
            if button.refuses_protected and actual and actual.gateway.protect:
                raise Blocked(_PROTECTED.format(name=name))
            writes = Writes(store, service.vault, "", service.clock)
            button.press(writes, name, asked, form.get("force") == "yes")

        await service.write(write)
        service.feed.tell(About.GATEWAY, viewing.tenant, name)


def _check_role(viewing: Viewing) -> None:
    if not viewing.visit.may_press:
        raise forbidden(Role.OPERATE)


def _back(fields: Mapping[str, str]) -> View:
    """The view to go back to; whatever else stands there is no address of ours."""
    return View.read(dict(parse_qsl(fields.get("back", ""))))
