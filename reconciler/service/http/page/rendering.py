"""Templates and static files: read once, and the files named by a digest of what is in them."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from reconciler.clock import stamp
from reconciler.service.http.page.view import ENDING
from reconciler.service.http.page.words import (
    ACTION_WORDS,
    CAUSE_WORDS,
    STATUS_WORDS,
    count,
    exactly,
    person,
    relative,
    shown,
)

HERE: Final = Path(__file__).parent
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
YEAR_SECONDS: Final = 31_536_000

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    # with none at all a browser would name no origin for a form that it sends here
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Beside those that every answer of the service carries."""


class Rendering:
    """Makes pages and parts of pages; every value is escaped, and what hides is spelled out."""

    def __init__(self) -> None:
        self.files = {
            path.name: path.read_bytes()
            for path in sorted((HERE / "static").iterdir())
            if path.suffix in TYPES
        }
        digest = hashlib.sha256(repr(sorted(self.files.items())).encode()).hexdigest()[:16]
        self.static = f"/static/{digest}"
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            static=self.static,
            words=STATUS_WORDS,
            causes=CAUSE_WORDS,
            actions=ACTION_WORDS,
            count=count,
            ending=ENDING,
        )
        self._templates.filters.update(exactly=exactly, relative=_relative, name=person)

    def page(self, template: str, now: datetime, status: int = 200, **values: Any) -> web.Response:
        found = self._templates.get_template(f"{template}.html.j2")
        text = found.render(now=now, as_of=stamp(now), **values)
        return web.Response(status=status, text=text, content_type="text/html", headers=HEADERS)

    def parts(self, now: datetime) -> Any:
        """The macros of parts.html.j2, by their names."""
        return self._templates.get_template("parts.html.j2").make_module({"now": now})

    def file(self, name: str) -> web.Response | None:
        content = self.files.get(name)
        if content is None:
            return None
        return web.Response(
            body=content,
            content_type=TYPES[Path(name).suffix],
            charset="utf-8",
            headers={"Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable"},
        )


@pass_context
def _relative(context: Context, text: str) -> str:
    return relative(text, context["now"])
