"""Notes on a merge request of GitLab."""

from urllib.parse import quote

from reconciler.forges import Discussion
from reconciler.forges.exchange import Api
from reconciler.model import Secret


class GitLab:
    def __init__(self, place: Discussion, token: Secret) -> None:
        self._api = Api(place.api.rstrip("/"), "PRIVATE-TOKEN: ", token)
        project = quote(place.repository, safe="")
        self._request = f"/projects/{project}/merge_requests/{place.number}"

    async def put_comment(self, marker: str, text: str) -> str:
        notes = f"{self._request}/notes"
        found = await self._ours(notes, marker)
        if found is None:
            made = await self._api.entry("POST", notes, {"body": text})
        else:
            made = await self._api.entry("PUT", f"{notes}/{found}", {"body": text})
        request = await self._api.entry("GET", self._request)
        url = self._api.value(request, "web_url", str)
        return f"{url}#note_{self._api.value(made, 'id', int)}"

    async def _ours(self, notes: str, marker: str) -> int | None:
        us = self._api.value(await self._api.entry("GET", "/user"), "id", int)
        async for one in self._api.pages(notes):
            author = self._api.value(one, "author", dict)
            if author.get("id") == us and str(one.get("body") or "").startswith(marker):
                return self._api.value(one, "id", int)
        return None
