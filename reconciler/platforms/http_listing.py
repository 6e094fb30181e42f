"""Reading every gateway of a service: all pages of one moment, or an error."""

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from reconciler.errors import NotThere, PlatformUnavailable
from reconciler.garbage import no_collection
from reconciler.model import ActualGateway, Snapshot
from reconciler.platforms.http_client import Client, Json, Request
from reconciler.platforms.http_problems import SnapshotGone
from reconciler.wire_reading import Reader

PATH: Final = "/v1/gateways"
PAGE: Final = 2_000
"""Gateways asked for at once: about 2 MiB, a quarter of what is taken for an answer."""

_TIMES: Final = 5
_REFRESH_SECONDS: Final = 1_800.0
_LARGEST_REFRESH: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Page:
    gateways: tuple[ActualGateway, ...]
    supervised: bool
    count: int
    next: str | None


def path_of(name: str) -> str:
    """The path of one gateway."""
    return f"{PATH}/{quote(name, safe='')}"


async def read_all(client: Client) -> Snapshot:
    """Every gateway, as all were at one moment.

    Raises:
        PlatformUnavailable: the service cannot be read, or not whole.

    """
    for _ in range(_TIMES):
        try:
            with no_collection():
                return await _pages(client)
        except SnapshotGone:
            continue  # it was kept for a while, and we were too slow
        except NotThere as error:
            raise PlatformUnavailable(
                f"{client.origin} has no list of gateways: {error.message}",
                "is url that of a gateway service?",
            ) from None
    raise PlatformUnavailable(
        f"{client.origin}: the list of gateways was gone {_TIMES} times before all of it was read",
        "run the command again when the service has less to do",
    )


async def refreshed(client: Client) -> Snapshot:
    """Every gateway, with what a login now shows; never asked for twice, since logins count."""
    request = Request(
        "POST",
        "/v1/refresh",
        {},
        repeatable=False,
        patience=replace(client.patience, attempt=_REFRESH_SECONDS),
        most=_LARGEST_REFRESH,
    )
    return _whole([await client.ask(request, _page)], client.origin)


async def _pages(client: Client) -> Snapshot:
    pages: list[_Page] = []
    cursor: str | None = ""
    found = 0
    while cursor is not None:
        query = f"?limit={PAGE}" + (f"&cursor={quote(cursor, safe='')}" if cursor else "")
        page = await client.ask(Request("GET", PATH + query), _page)
        pages.append(page)
        found += len(page.gateways)
        # or a list that never ends would be read for ever
        cursor = page.next if page.gateways and found < page.count else None
    return _whole(pages, client.origin)


def _page(data: Json) -> _Page:
    count, following = data["count"], data["next"]
    if type(count) is not int or type(following) not in {str, type(None)}:
        raise TypeError
    reader = Reader(data["certificates"])
    gateways = tuple(reader.actual(one) for one in data["gateways"])
    return _Page(gateways, bool(data["supervised"]), count, following)


def _whole(pages: list[_Page], origin: str) -> Snapshot:
    """The pages as one. Raises PlatformUnavailable unless nothing is missing and nothing twice."""
    gateways = tuple(one for page in pages for one in page.gateways)
    names = [one.gateway.name for one in gateways]
    counts = {page.count for page in pages}
    if counts != {len(names)} or len(set(names)) != len(names) or pages[-1].next:
        raise PlatformUnavailable(
            f"{origin} listed {len(names)} gateways and says that there are "
            + " or ".join(str(count) for count in sorted(counts)),
            "nothing is planned on a list that is not whole; run the command again",
        )
    gateways = tuple(sorted(gateways, key=lambda one: one.gateway.name))
    return Snapshot(gateways, supervised=all(page.supervised for page in pages))
