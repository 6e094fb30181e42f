"""Which work each protocol's session does."""

from collections.abc import Mapping
from typing import Final

from reconciler.model import ProtocolType
from reconciler.service.mail.receiving_imap import receive_imap
from reconciler.service.mail.receiving_pop3 import receive_pop3
from reconciler.service.mail.sending import send
from reconciler.service.work import Work

WORKS: Final[Mapping[ProtocolType, Work]] = {
    ProtocolType.SMTP: send,
    ProtocolType.IMAP: receive_imap,
    ProtocolType.POP3: receive_pop3,
}
