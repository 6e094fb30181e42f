"""The members of the model's enumerations by their values, for readers of many gateways.

A look-up is several times faster than calling the enumeration.
"""

from typing import Final

from reconciler.model import (
    Cause,
    EncryptionMode,
    FailureKind,
    ProtocolType,
    ReceiveFrom,
    State,
    StatusState,
    WhenFailed,
)

PROTOCOLS: Final = {one.value: one for one in ProtocolType}
ENCRYPTIONS: Final = {one.value: one for one in EncryptionMode}
RECEIVE: Final = {one.value: one for one in ReceiveFrom}
STATES: Final = {one.value: one for one in State}
WHEN_FAILED: Final = {one.value: one for one in WhenFailed}
STATUSES: Final = {one.value: one for one in StatusState}
KINDS: Final = {one.value: one for one in FailureKind}
CAUSES: Final = {one.value: one for one in Cause}
