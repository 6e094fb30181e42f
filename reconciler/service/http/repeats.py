"""Answering a repeated request as before, where it changes something other than a gateway."""

import json
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from reconciler.clock import stamp
from reconciler.errors import KeyReused
from reconciler.service.http.asking import KEY, digest_of, key_of
from reconciler.service.http.routing import Call
from reconciler.service.store import Store

KEPT: Final = timedelta(hours=24)


def forget_old(call: Call, store: Store) -> None:
    """Answers are kept for a day: whoever repeats a request does so within minutes."""
    store.forget_answers_before(stamp(call.service.clock() - KEPT))


def once(call: Call, connection: sqlite3.Connection, body: Any, job: Callable[[], Any]) -> Any:
    """What the job gives, as JSON; or, with a key that was used for the same, what it gave then.

    In a caller's transaction. Without a key the job is simply carried out.

    Raises:
        KeyReused: the key was used for another body.

    """
    key = key_of(call)
    if key is None:
        return job()
    store = Store(connection, call.tenant)
    forget_old(call, store)
    digest = digest_of(body)
    answered = store.answer(key)
    if answered is None:
        answer = job()
        connection.execute(
            "INSERT INTO answers VALUES (?, ?, ?, '', ?, ?)",
            (call.tenant, key, digest, json.dumps(answer), stamp(call.service.clock())),
        )
        return answer
    if answered[0] != digest:
        raise KeyReused(
            f"the {KEY} was used for another request", "give every request a key of its own"
        )
    return answered[1]
