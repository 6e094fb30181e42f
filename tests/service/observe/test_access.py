"""The access log, and the number that ties a request to its caller's own log."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from reconciler.service.access import Role
from reconciler.service.observe.access import PER_SECOND, AccessLog
from tests.service.running import running

OURS = re.compile(r"[0-9a-f]{16}")


def about(record: logging.LogRecord) -> dict[str, Any]:
    names = ("method", "route", "status", "request", "token")
    return {name: getattr(record, name) for name in names if hasattr(record, name)}


async def test_a_line_for_each_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gateways")
    async with running(tmp_path) as run:
        token = await run.token(Role.READ)
        headers = {
            "Authorization": f"Bearer {token.text().reveal()}",
            "X-Request-Id": "mine-1",
        }
        for path in ("/v1/gateways/private-name?password=hidden", "/secret-path", "/healthz"):
            async with run.http.get(path, headers=headers) as answer:
                assert answer.headers["X-Request-Id"] == "mine-1"
    records = [one for one in caplog.records if one.name == "gateways.access"]
    assert [about(one) for one in records] == [
        {
            "method": "GET",
            "route": "/v1/gateways/{name}",
            "status": 404,
            "request": "mine-1",
            "token": token.id,
        },
        {"method": "GET", "route": "/{path:.*}", "status": 404, "request": "mine-1"},
        {"method": "GET", "route": "/healthz", "status": 200, "request": "mine-1"},
    ]
    assert [one.levelname for one in records] == ["INFO", "INFO", "DEBUG"]
    assert all(vars(one)["ms"] >= 0 for one in records)
    everything = " ".join(str(vars(one)) for one in caplog.records)
    for secret in ("private-name", "hidden", "secret-path", token.secret.reveal()):
        assert secret not in everything


@pytest.mark.parametrize(
    "given",
    ["", "a" * 65, "two words", "semi;colon", "<script>", "ünïcode", "tab\there"],
)
async def test_a_number_that_is_not_fit_to_be_seen_is_replaced(tmp_path: Path, given: str) -> None:
    async with running(tmp_path) as run:
        async with run.http.get("/healthz", headers={"X-Request-Id": given}) as answer:
            first = answer.headers["X-Request-Id"]
        async with run.http.get("/healthz") as answer:
            second = answer.headers["X-Request-Id"]
    assert OURS.fullmatch(first)
    assert OURS.fullmatch(second)
    assert first != second


def test_a_second_with_too_many_is_told_in_part_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gateways")
    clock = [0.0]
    log = AccessLog(lambda: clock[0])
    request = make_mocked_request("GET", "/v1/gateways")
    for clock[0], count in ((5.0, PER_SECOND), (5.9, 70), (6.1, 1), (6.2, PER_SECOND), (9.0, 2)):
        for _ in range(count):
            log.tell(request, "/v1/gateways", 200, 0.001)
    told = [getattr(one, "left_out", 0) for one in caplog.records]
    assert told == [0] * PER_SECOND + [70] + [0] * (PER_SECOND - 1) + [1, 0]


def test_what_is_not_told_anyway_uses_no_share(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateways")
    log = AccessLog(lambda: 1.0)
    request = make_mocked_request("GET", "/healthz")
    for _ in range(PER_SECOND * 2):
        log.tell(request, "/healthz", 200, 0.001)
    log.tell(request, "/v1/gateways", 200, 0.001)
    (record,) = caplog.records
    assert not hasattr(record, "left_out")
