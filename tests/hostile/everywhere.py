"""Values of the model with one string in every place that can hold one."""

from dataclasses import replace

from reconciler.messages import (
    InboxPage,
    MessageKind,
    MessageState,
    ReceivedMessage,
    Recipient,
    RecipientState,
    SentMessage,
)
from reconciler.model import (
    Action,
    ActualGateway,
    Cause,
    Change,
    Check,
    CheckState,
    Commit,
    ConsoleField,
    Failure,
    FailureKind,
    FieldChange,
    Gateway,
    Happening,
    Ladder,
    Outcome,
    Place,
    Plan,
    PolicyChange,
    Problem,
    Result,
    Runbook,
    Rung,
    RungState,
    SecretChange,
    SecretState,
    Severity,
    Status,
    StatusState,
    Step,
    Tick,
    Warned,
)
from reconciler.report.drift import Drifted, DriftReport
from reconciler.report.problems import Judgement
from reconciler.report.runbook import Checklist, ticked_by


def failure(text: str) -> Failure:
    return Failure(FailureKind.TLS, text, text, text)


def change(text: str, action: Action = Action.EDIT) -> Change:
    return Change(
        text,
        action,
        text,
        (
            FieldChange(text, text, {text: text}),
            FieldChange("host", text, text),
            SecretChange("user_password", SecretState.ROTATED),
        ),
        reconnects=True,
        place=Place(text, 1, 1),
        warnings=(Warned(text, text),),
        revision=text,
        certificate_expires=text,
        check=Check(CheckState.FAILS, text, CheckState.WORKS, failure(text), text),
    )


def plan(text: str) -> Plan:
    warning = problem(text, Severity.WARNING)
    return Plan(
        text,
        text,
        (
            *(change(text, action) for action in Action),
            replace(change(text), blocked_by=text),
        ),
        drift=(change(text),),
        foreign=(text, text),
        warnings=(warning,),
        blocked=(text,),
        created_at=text,
        tool_version=text,
        git=Commit(text, dirty=True),
        secrets_compared=False,
        policy_from=text,
        against=text,
        policy=(PolicyChange(text, text, text),),
    )


def problem(text: str, severity: Severity = Severity.ERROR) -> Problem:
    return Problem(Place(text, 7, 11), text, text, severity, text, text)


def judgement(text: str) -> Judgement:
    return Judgement([problem(text), problem(text, Severity.WARNING)], 1, 1)


def drift(text: str) -> DriftReport:
    fields = change(text).fields
    happenings = [
        Happening(text, text, text, commit, text, fields, text)
        for commit in (None, text, f"{text}-dirty")
    ]
    drifted = tuple(
        Drifted(text, text, text, text, fields, by, explained=False) for by in (None, *happenings)
    )
    return DriftReport(text, text, drift=drifted, on_the_way=(text,), as_declared=1,
                       secrets_compared=False, history_known=True)  # fmt: skip


def gateways(text: str) -> list[ActualGateway]:
    given = {
        "protocol_type": "SMTP",
        "host": text,
        "user_id": text,
        "default_email_address": text,
        "default_user_name": text,
        "labels": {text: text},
    }
    gateway = Gateway.of(text, given, None)
    statuses = [
        Status(StatusState.FAILED, text, text, failure(text)),
        Status(StatusState.DISCONNECTED, text, text, cause=Cause.BY_HAND, actor=text),
        Status(StatusState.SUCCEEDED, text, text),
        Status(StatusState.CONNECTING, text, text),
    ]
    return [
        ActualGateway(gateway, status, text, owner) for status in statuses for owner in (text, None)
    ]


def outcomes(text: str) -> list[Outcome]:
    return [Outcome(change(text), result, text, failure=failure(text)) for result in Result]


def ladder(text: str) -> Ladder:
    rungs = tuple(Rung(text, state, text, 5) for state in RungState)
    return Ladder(text, rungs, failure(text))


def inbox(text: str) -> InboxPage:
    message = ReceivedMessage(text, text, text, (text,), text, text, 5, text, text, (text,))
    return InboxPage((message,), text, 1, text)


def sent(text: str) -> SentMessage:
    recipients = tuple(Recipient(text, state, text) for state in RecipientState)
    kind, state = MessageKind.AGENT, MessageState.QUEUED
    return SentMessage(text, text, kind, state, text, text, 5, recipients, text, text)


def checklist(text: str) -> Checklist:
    """Titles and labels are the console's own, and no user's."""
    fields = (
        ConsoleField("host", "Host", text, text),
        ConsoleField("user_password", "User Password", "", secret=text),
    )
    step = Step("Edit", ("Menu",), find=text, button="Edit", fields=fields, then="Save")
    runbook = Runbook(change(text), (step, step), ("labels",), digest="1")
    tick = Tick(text, text, text, text, text, Action.EDIT, "1", 1, 2, "Edit")
    return Checklist(plan(text), (runbook, runbook), ticked_by([tick]), text, "gateways apply")
