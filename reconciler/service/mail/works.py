"""Which work each protocol's session does."""

from collections.abc import Mapping
from typing import Final

from reconciler.model import ProtocolType
from reconciler.service.work import KEEP_ONLY, Work

WORKS: Final[Mapping[ProtocolType, Work]] = {**KEEP_ONLY}
