"""A small mail server for the demo and for load and fault tests: SMTP, IMAP and POP3 in asyncio.

It keeps mail in memory, sends nothing anywhere, and refuses what Postfix and Dovecot refuse, in
their words. It can also misbehave on purpose: see `Faults`.
"""

from demo.mailserver.server import MailServer
from demo.mailserver.state import Counters, Faults, Message

__all__ = ["Counters", "Faults", "MailServer", "Message"]
