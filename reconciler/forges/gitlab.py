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
            made = await self._api.call("POST", notes, {"body": text})
        else:
            made = await self._api.call("PUT", f"{notes}/{found}", {"body": text})
        request = await self._api.call("GET", self._request)
        return f"{request['web_url']}#note_{made['id']}"

    async def _ours(self, notes: str, marker: str) -> int | None:
        us = (await self._api.call("GET", "/user"))["id"]
        async for one in self._api.pages(notes):
            if one["author"]["id"] == us and str(one.get("body") or "").startswith(marker):
                return int(one["id"])
        return None
