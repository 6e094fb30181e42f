"""Sends messages through aiosmtplib and prints how many in a second, connecting not counted.

`python send_peer.py ADDRESS PORT COUNT CONNECTIONS`: each message is there as bytes, and nothing is
stored.
"""

import asyncio
import sys
from time import perf_counter

import aiosmtplib  # type: ignore[import-not-found]  # this runs in an environment of its own

MESSAGE = """\
Date: Sun, 22 Nov 2026 12:00:00 +0000\r
From: "Support" <{address}>\r
To: {address}\r
Subject: Your question {number}\r
Message-ID: <{number:032}@example.com>\r
MIME-Version: 1.0\r
Content-Type: text/plain; charset="UTF-8"\r
Content-Transfer-Encoding: 7bit\r
\r
Hello,\r
we have an answer.\r
"""


async def main() -> None:
    address, port, count, connections = sys.argv[1], *map(int, sys.argv[2:5])
    numbers = iter(range(count))
    clients = [
        aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False)
        for _ in range(connections)
    ]
    for client in clients:
        await client.connect()

    async def send(client: aiosmtplib.SMTP) -> None:
        for number in numbers:
            message = MESSAGE.format(address=address, number=number).encode()
            await client.sendmail(address, [address], message)

    start = perf_counter()
    await asyncio.gather(*(send(client) for client in clients))
    print(count / (perf_counter() - start))
    for client in clients:
        client.close()


if __name__ == "__main__":
    asyncio.run(main())
