"""The gateway service on a database, as a process that a test may kill: sessions, and no API.

python -m tests.service.mail.receiving_process DATABASE
"""

import asyncio
import sys
from pathlib import Path

from reconciler.service.mail.receiving_settings import ReceivingSettings
from reconciler.service.mail.works import WORKS
from reconciler.service.service import Service, ServiceSettings
from reconciler.service.sessions import SessionSettings
from reconciler.service.supervisor.supervisor import Supervisor


async def main(database: Path) -> None:
    receiving = ReceivingSettings(poll_seconds=0.1, pause_seconds=0.1, reserve_bytes=0)
    settings = ServiceSettings(SessionSettings(private_hosts=True), receiving=receiving)
    async with Service(database, settings, environment={}) as service:
        await Supervisor(service, WORKS).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
