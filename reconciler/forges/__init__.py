"""Forges: where pull requests are discussed. One comment for each target, found again and replaced.

A forge is something that fits the protocol and stands in the table; which one, and which pull
request, the CI system says in its environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, cast

from reconciler.errors import WrongUsage
from reconciler.model import Secret


class Forge(Protocol):
    """One pull request's comments."""

    async def put_comment(self, marker: str, text: str) -> str:
        """Replace our comment that holds `marker`, or add one; its address on the web.

        A comment with the marker that somebody else wrote is left alone.

        Raises:
            PlatformUnavailable: the forge cannot be reached, or refuses us.

        """
        ...


class Opener(Protocol):
    def __call__(self, place: "Discussion", token: Secret) -> Forge: ...


@dataclass(frozen=True, slots=True)
class Discussion:
    """A pull request: the forge's API, the repository or project there, and its number."""

    forge: str
    api: str
    repository: str
    number: int


FORGES: Final[Mapping[str, str]] = {
    "github": "reconciler.forges.github:GitHub",
    "gitlab": "reconciler.forges.gitlab:GitLab",
}


def open_forge(place: Discussion, token: Secret) -> Forge:
    module, _, attribute = FORGES[place.forge].partition(":")
    return cast(Opener, getattr(import_module(module), attribute))(place, token)


def discussion(
    environ: Mapping[str, str], *, forge: str | None, repository: str | None, number: int | None
) -> tuple[Discussion, Secret]:
    """Which pull request, and with which token; what is not given is taken from the environment.

    Raises:
        WrongUsage: it cannot be told, or there is no token.

    """
    name = forge or _forge_of(environ)
    found = _READERS[name](environ)
    where = repository or found.repository
    which = number or found.number
    if not where or not which:
        raise WrongUsage(
            "it cannot be told which pull request to comment on",
            "say --repository and --number, or run this in a job of a pull request; --print "
            "needs neither",
        )
    # a token out of a file ends with its line
    text = next((value for key in _TOKENS[name] if (value := environ.get(key, "").strip())), "")
    if not text:
        raise WrongUsage(
            f"there is no token for {name}", f"put one into {_TOKENS[name][0]}; --print needs none"
        )
    return Discussion(name, found.api, where, which), Secret(text)


def _forge_of(environ: Mapping[str, str]) -> str:
    if environ.get("GITHUB_ACTIONS"):
        return "github"
    if environ.get("GITLAB_CI"):
        return "gitlab"
    raise WrongUsage(
        "it cannot be told on which forge the pull request is", "say --forge github or gitlab"
    )


def _github(environ: Mapping[str, str]) -> Discussion:
    """The ref of a pull request's job is refs/pull/NUMBER/merge."""
    parts = environ.get("GITHUB_REF", "").split("/")
    named = len(parts) > 2 and parts[:2] == ["refs", "pull"]  # noqa: PLR2004 - refs, pull, number
    return Discussion(
        "github",
        environ.get("GITHUB_API_URL") or "https://api.github.com",
        environ.get("GITHUB_REPOSITORY", ""),
        _number(parts[2]) if named else 0,
    )


def _gitlab(environ: Mapping[str, str]) -> Discussion:
    return Discussion(
        "gitlab",
        environ.get("CI_API_V4_URL") or "https://gitlab.com/api/v4",
        environ.get("CI_PROJECT_ID", ""),
        _number(environ.get("CI_MERGE_REQUEST_IID", "")),
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


_READERS: Final = {"github": _github, "gitlab": _gitlab}
_TOKENS: Final[Mapping[str, tuple[str, ...]]] = {
    "github": ("GITHUB_TOKEN", "GH_TOKEN"),
    "gitlab": ("GITLAB_TOKEN",),
}
