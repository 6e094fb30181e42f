"""Sending and receiving through the gateways of a service elsewhere."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from reconciler.errors import GatewaysError, PlatformUnavailable
from reconciler.messages import InboxPage, MessageState, OutgoingMessage, SentMessage
from reconciler.model import Actor, Target
from reconciler.platforms import Mail
from reconciler.platforms.http_access import Access, access_of
from reconciler.platforms.http_client import Client, Doubt, Json, Request
from reconciler.platforms.http_listing import path_of
from reconciler.platforms.http_retry import Patience
from reconciler.wire_mail import inbox_from, outgoing_data, sent_from

_SEND_SECONDS: Final = 600.0
"""For one attempt: a message with its attachments may have 48 MiB."""

_LARGEST_PAGE: Final = 64 * 1024 * 1024


def open_mail(target: Target, _root: Path) -> Mail:
    """The mail of an http target; nothing is sent before it is used.

    Raises:
        InvalidInput: the settings or the environment lack something, or do not fit.

    """
    return HttpMail(access_of(target, os.environ))


class HttpMail:
    """Needs a token of role send."""

    def __init__(self, access: Access, *, patience: Patience | None = None) -> None:
        self._client = Client(access, patience or Patience())

    async def send(self, name: str, message: OutgoingMessage, *, key: str) -> SentMessage:
        patience = self._client.patience
        request = Request(
            "POST",
            f"{path_of(name)}/messages",
            outgoing_data(message),
            {"Idempotency-Key": key},
            writes=True,
            patience=replace(patience, attempt=max(patience.attempt, _SEND_SECONDS)),
        )
        try:
            accepted, state = await self._client.ask(request, _accepted)
        except Doubt as doubt:
            raise PlatformUnavailable(
                f"{doubt.setback.error.message}; whether the message was accepted is not known",
                f"look at the outbox of {name} before it is sent once more: its key was {key}",
            ) from None
        try:
            return await self.sent(name, accepted)
        except GatewaysError:
            # it is accepted, whatever else can be learned of it now
            return SentMessage(accepted, name, message.kind, state, "", "", 0, ())

    async def sent(self, name: str, message_id: str) -> SentMessage:
        path = f"{path_of(name)}/outbox/{quote(message_id, safe='')}"
        return await self._client.ask(Request("GET", path), sent_from)

    async def resend(self, name: str, message_id: str, *, actor: Actor) -> SentMessage:
        return await self._decide(name, message_id, "resend")

    async def give_up(self, name: str, message_id: str, *, actor: Actor) -> SentMessage:
        return await self._decide(name, message_id, "give-up")

    async def _decide(self, name: str, message_id: str, what: str) -> SentMessage:
        """Who does it is what the token says."""
        path = f"{path_of(name)}/outbox/{quote(message_id, safe='')}/{what}"
        key = {"Idempotency-Key": str(uuid4())}
        return await self._client.ask(Request("POST", path, {}, key, writes=True), sent_from)

    async def inbox(self, name: str, *, after: str = "", limit: int = 100) -> InboxPage:
        query = f"limit={limit}" + (f"&after={quote(after, safe='')}" if after else "")
        request = Request("GET", f"{path_of(name)}/messages?{query}", most=_LARGEST_PAGE)
        return await self._client.ask(request, inbox_from)

    async def raw(self, name: str, message_id: str) -> AsyncIterator[bytes]:
        path = f"{path_of(name)}/messages/{quote(message_id, safe='')}/raw"
        async with self._client.stream(path, "message/rfc822") as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        await self._client.close()


def _accepted(data: Json) -> tuple[str, MessageState]:
    return str(data["id"]), MessageState(data["state"])
