"""Fixtures that more than one folder of tests uses, and the marker for real servers."""

import os
import shutil
from collections.abc import Iterator, Sequence

import pytest

from tests.rig import MailRig, missing_for_rig


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`interop` needs the mail rig; `interop("gpg", …)` needs the programs that it names.

    `browser` needs Chromium.
    """
    for marker in item.iter_markers("interop"):
        _need(_missing(marker.args) if marker.args else missing_for_rig())
    for _ in item.iter_markers("browser"):
        _need(_missing(("chromium",)))


def _need(missing: Sequence[str]) -> None:
    if missing:
        reason = "missing here: " + ", ".join(missing)
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; under CI this is an error", pytrace=False)
        pytest.skip(reason)


def _missing(programs: tuple[str, ...]) -> list[str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    return [program for program in programs if not shutil.which(program, path=path)]


@pytest.fixture(scope="session")
def rig() -> Iterator[MailRig]:
    """Postfix and Dovecot, started once; a test that uses it carries the marker `interop`."""
    with MailRig() as running:
        yield running
