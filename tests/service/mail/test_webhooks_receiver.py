"""What a receiver checks: the example of docs/webhooks.md, against real announcements."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import PlatformUnavailable
from reconciler.model import Secret
from reconciler.service.mail.webhook_signature import make_secret, signed
from reconciler.service.mail.webhook_store import Webhooks
from reconciler.service.service import Service
from tests.service.mail.targets import LOOPBACK, Post, announcing, target

PAGE = Path(__file__).parents[3] / "docs/webhooks.md"
AT = 1_795_341_600
BODY = b'{"type":"message.received"}'

Genuine = Callable[..., bool]


@pytest.fixture(scope="module")
def genuine() -> Genuine:
    """The function of the page; it is to stay short enough to be copied."""
    (code,) = re.findall(r"```python\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 16
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - it is our own page
    found: Genuine = names["genuine"]
    return found


async def test_what_the_service_sends_is_believed(tmp_path: Path, genuine: Genuine) -> None:
    """A39."""
    async with target() as receiver, announcing(tmp_path) as post:
        _, secret = await post.register(receiver.url)
        await post.arrive("Invoice 7")
        (told,) = await receiver.until(1)
        await post.settled()
    assert genuine(told.headers, told.body, secret.reveal())
    assert not genuine(told.headers, told.body + b" ", secret.reveal())
    assert not genuine(told.headers, told.body, make_secret().reveal())


def test_forged_replayed_and_with_wrong_clocks(genuine: Genuine) -> None:
    """A39: altered in any part, late, or early, it is not believed."""
    secret = make_secret()
    headers = dict(signed("msg_1", AT, BODY, [secret]))

    def judged(now: float = AT, body: bytes = BODY, **changed: str) -> bool:
        given = {**headers, **{f"webhook-{name}": value for name, value in changed.items()}}
        return genuine(given, body, secret.reveal(), now)

    assert judged()
    assert judged(now=AT + 299)
    assert judged(now=AT - 299)
    assert not judged(now=AT + 301)
    assert not judged(now=AT - 301)
    assert not judged(id="msg_2")
    # a replay with a fresh time is a forgery: the time is signed
    assert not judged(now=AT + 3_600, timestamp=str(AT + 3_600))
    assert not judged(body=BODY.replace(b"received", b"receivEd"))
    assert not judged(signature="")
    assert not judged(signature="v1,")
    first = headers["webhook-signature"]
    assert not judged(signature=first[:-2] + ("A" if first[-2] != "A" else "B") + "=")


def test_the_known_answer_of_the_format(genuine: Genuine) -> None:
    """The example of the format's own specification."""
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body, [secret])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert genuine(headers, body, secret.reveal(), 1_614_265_330)


async def test_for_a_day_both_secrets_are_signed_with(tmp_path: Path, genuine: Genuine) -> None:
    """A39: a receiver can change to the new one at any moment of it."""
    moment = datetime.now(UTC)

    def clock() -> datetime:
        return moment

    async with target() as receiver, announcing(tmp_path, clock=clock) as post:
        webhook, old = await post.register(receiver.url)
        new, is_new = await post.service.write(
            lambda connection: webhooks_of(post.service, connection).rotate(webhook)
        )
        assert is_new
        await post.arrive("1")
        await post.settled()
        moment += timedelta(hours=25)
        await post.arrive("2")
        await post.settled()
    first, second = receiver.told
    now = [float(one.headers["webhook-timestamp"]) for one in (first, second)]
    assert genuine(first.headers, first.body, old.reveal(), now[0])
    assert genuine(first.headers, first.body, new.reveal(), now[0])
    assert not genuine(second.headers, second.body, old.reveal(), now[1])
    assert genuine(second.headers, second.body, new.reveal(), now[1])


def webhooks_of(service: Service, connection: Any) -> Webhooks:
    return Webhooks(connection, "acme", service.vault, service.clock)


async def test_a_secret_opens_for_its_own_webhook_and_url_alone(tmp_path: Path) -> None:
    """A36: a row that was moved, or whose URL was changed by hand, signs nothing."""
    async with Service(tmp_path / "platform.db", LOOPBACK, environment={}) as service:
        post = Post(service)
        first, secret = await post.register("https://one.example.com/")
        second, _ = await post.register("https://two.example.com/")

        def moved(statement: str, *values: str) -> Any:
            def job(connection: Any) -> None:
                connection.execute(statement, values)

            return service.write(job)

        await moved("UPDATE webhooks SET url = 'https://evil.example/' WHERE id = ?", first.id)
        await moved(
            "UPDATE webhook_secrets SET sealed = (SELECT sealed FROM webhook_secrets "
            "WHERE webhook = ?) WHERE webhook = ?",
            first.id,
            second.id,
        )
        for one in (first, second):
            altered = await post.webhook(one)
            assert altered
            with pytest.raises(PlatformUnavailable, match="altered") as caught:
                await service.look(
                    lambda connection, altered=altered: webhooks_of(service, connection).keys(  # type: ignore[misc]
                        altered
                    )
                )
            assert secret.reveal() not in str(caught.value) + caught.value.hint


async def test_a_message_that_was_not_stored_is_not_announced(tmp_path: Path) -> None:
    """Both are in one transaction: undone together."""
    async with Service(tmp_path / "platform.db", LOOPBACK, environment={}) as service:
        post = Post(service)
        await post.register("https://one.example.com/")

        class Undone(Exception):
            """Stands for whatever may fail after a message was listed."""

        with pytest.raises(Undone):
            await post.arrive("never", then=Undone())
        assert await post.rows() == []
        await post.arrive("1")
        assert len(await post.rows()) == 1
