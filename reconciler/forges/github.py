"""Comments on a pull request of GitHub, or of a server that speaks its API."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from reconciler.errors import PlatformUnavailable, WrongUsage
from reconciler.forges import Discussion
from reconciler.forges.exchange import Api
from reconciler.model import Secret


class GitHub:
    def __init__(self, place: Discussion, token: Secret) -> None:
        owner, _, name = place.repository.partition("/")
        if not owner or not name or "/" in name:
            raise WrongUsage(
                f"--repository {place.repository!r}: it is written as OWNER/NAME",
                "for example: --repository example/mail",
            )
        self._api = Api(place.api.rstrip("/"), "Authorization: Bearer ", token)
        self._repository = f"/repos/{quote(owner, safe='')}/{quote(name, safe='')}"
        self._comments = f"{self._repository}/issues/{place.number}/comments"

    async def put_comment(self, marker: str, text: str) -> str:
        found = await self._ours(marker)
        if found is None:
            made = await self._api.entry("POST", self._comments, {"body": text})
        else:
            path = f"{self._repository}/issues/comments/{found}"
            made = await self._api.entry("PATCH", path, {"body": text})
        return self._api.value(made, "html_url", str)

    async def _ours(self, marker: str) -> int | None:
        """A person can write the marker too; what a person wrote is not ours to replace.

        A job's token may not ask who it is, so a bot's comment counts as ours; with a person's
        token, that person's.
        """
        async for one in self._api.pages(self._comments):
            if str(one.get("body") or "").startswith(marker) and await self._is_ours(one):
                return self._api.value(one, "id", int)
        return None

    async def _is_ours(self, comment: Mapping[str, Any]) -> bool:
        if comment.get("user") is None:  # whose account is gone
            return False
        author = self._api.value(comment, "user", dict)
        if author.get("type") == "Bot":
            return True
        return bool(author.get("login")) and author.get("login") == await self._login()

    async def _login(self) -> object:
        try:
            return (await self._api.entry("GET", "/user")).get("login")
        except PlatformUnavailable:
            return None  # a job's token may not ask
