"""Logs in at an IMAP server over TLS, again and again, and does nothing else.

`python -m bench.login_loop PORT CA COUNT AT_ONCE`: the floor for an apply that connects COUNT
gateways.
"""

import asyncio
import ssl
import sys
from base64 import b64encode

from bench.accounts import password, user


async def login(port: int, context: ssl.SSLContext, number: int) -> None:
    """What a gateway's contact says to an IMAP server, and nothing that could fail gracefully."""
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    await reader.readline()
    sent = b64encode(f"\0{user(number)}\0{password(number)}".encode()).decode()
    for command in ("CAPABILITY", f"AUTHENTICATE PLAIN {sent}", "EXAMINE INBOX", "LOGOUT"):
        writer.write(f"a {command}\r\n".encode())
        answer = b"*"
        while answer.startswith(b"*"):
            answer = await reader.readline()
        if not answer.startswith(b"a OK"):
            raise SystemExit(f"login {number} was refused")
    writer.close()


async def main() -> None:
    port, ca_file, count, at_once = int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:5])
    context = ssl.create_default_context(cafile=ca_file)
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await login(port, context, number)

    await asyncio.gather(*(work() for _ in range(at_once)))


if __name__ == "__main__":
    asyncio.run(main())
