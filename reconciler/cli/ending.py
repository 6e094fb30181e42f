"""When a service ends: at a signal, when its disk fails, or when its sessions do."""

import asyncio
import logging
import os
import signal
from typing import Final, NoReturn

from reconciler.errors import ExitCode, WrongUsage
from reconciler.service.http.tls import ServerTls
from reconciler.service.service import Service

logger = logging.getLogger("gateways.serve")


GRACE_SECONDS: Final = 30.0
"""For what is under way, from the first signal on; most of it, the API, has less of its own."""


class Ending:
    """SIGTERM and SIGINT ask for the end, a second one brings it; SIGHUP reads the certificate."""

    def __init__(self, tls: ServerTls | None) -> None:
        self._tls = tls
        self._asked = asyncio.Event()
        self._asked_at = 0.0
        self._loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(one, self._ask)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)

    @property
    def seconds_left(self) -> float:
        return max(1.0, self._asked_at + GRACE_SECONDS - self._loop.time())

    async def wait(self, service: Service, keeping: asyncio.Task[None]) -> None:
        """Return once a signal has asked for the end; raise what has ended `keeping`.

        Where the disk has failed the process ends here and now: nothing more is to be written.
        """
        ends = [asyncio.create_task(event.wait()) for event in (self._asked, service.fatal)]
        await asyncio.wait([*ends, keeping], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if service.fatal.is_set():
            end_now(
                f"error: database {service.database}: the disk failed, or the database is no "
                "longer this service's; it is looked at anew at the next start",
                ExitCode.PLATFORM,
            )
        if keeping.done() and not self._asked.is_set():
            raise _innermost(keeping.exception())

    def _ask(self) -> None:
        if self._asked.is_set():
            end_now("stopped at once", ExitCode.INTERRUPTED)
        logger.info("stopping: what is under way is finished; a second signal ends it at once")
        self._asked_at = self._loop.time()
        self._asked.set()

    def _reload(self) -> None:
        if self._tls is None:
            logger.info("there is no certificate to read again")
            return
        try:
            self._tls.reload()
        except WrongUsage as error:
            logger.warning("the certificate stays as it was: %s", error.message)
        else:
            logger.info("from now on certificate %s", self._tls.about)


def end_now(why: str, code: ExitCode) -> NoReturn:
    """End the process and tidy up nothing: what was answered is on disk."""
    logger.log(logging.INFO if code is ExitCode.DONE else logging.ERROR, why)
    logging.shutdown()  # a thread writes the lines
    os._exit(code)


def _innermost(error: BaseException | None) -> BaseException:
    """What it was, out of the group that asyncio puts it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error or RuntimeError("the supervisor has ended")
