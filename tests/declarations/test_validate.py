"""Judging: merging, places, targets, severities. Single mistakes are in tests/bad."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.declarations.load import load
from reconciler.declarations.messages import SchemaFault, in_words
from reconciler.declarations.project import Project, read_project
from reconciler.declarations.validate import Judged, about, judge
from reconciler.model import Gateway, Problem, Severity
from reconciler.schemas import errors
from tests import certs

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
LOCAL: Final = "targets: {local: {platform: embedded}}\n"
DEFAULTS: Final = """\
defaults:
  host: mail.example.com
  user_id: support@example.com
  user_password: {secret: support_mailbox}
  certificate_file: certs/root.pem
"""
# the secret "mailbox", as git holds it: no key is needed to see its name
SECRETS: Final = (
    Path(__file__).parent.parent / "bad/unused-secret/gateways.d/secrets/mail.sops.yaml"
)


class Folder:
    """A project in a temporary folder, with a certificate that the gateways may name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "gateways.d/certs").mkdir(parents=True)
        (root / "gateways.d/certs/root.pem").write_bytes(certs.ca().pem)

    def write(self, text: str, file: str = "mail.yaml") -> "Folder":
        (self.root / "gateways.d" / file).write_text(text)
        return self

    def project(self, text: str = LOCAL) -> Project:
        return read_project(text.encode(), self.root)

    def judge(self, text: str = LOCAL, targets: Sequence[str] = ()) -> Judged:
        project = self.project(text)
        chosen = [project.targets[name] for name in targets or project.targets]
        return judge(project, load(self.root, "gateways.d"), chosen, now=NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def fields(judged: Judged, target: str = "local") -> dict[str, Mapping[str, Any]]:
    return {one.name: one.fields for one in judged.declared[target]}


def said(problems: Sequence[Problem], *slugs: str) -> list[str]:
    """Place and rule of each problem; of the rules named, or of those of the schema."""
    return [
        f"{one.place.line}:{one.place.column} {one.rule}" for one in problems if one.rule in slugs
    ]


# -- merging -------------------------------------------------------------------------------------


def test_defaults_stand_under_each_gateway(folder: Folder) -> None:
    folder.write(
        DEFAULTS
        + """\
  labels: {team: support, env: test}
gateways:
  one: {protocol_type: IMAP}
  two: {protocol_type: POP3, host: pop.example.com, labels: {team: sales}}
"""
    )
    judged = folder.judge()
    merged = fields(judged)
    assert merged["one"]["host"] == "mail.example.com"
    assert merged["one"]["labels"] == {"team": "support", "env": "test"}
    assert merged["two"]["host"] == "pop.example.com"
    assert merged["two"]["labels"] == {"team": "sales"}
    one, two = judged.declared["local"]
    assert one.own == {"protocol_type"}
    assert {"host", "labels"} <= one.inherited
    assert (one.place("host").line, two.place("host").line) == (2, 9)
    assert one.certificate is not None
    assert one.certificate is two.certificate


@pytest.mark.parametrize("empty", ["null", "~", "", '""'])
def test_null_undoes_a_default(folder: Folder, empty: str) -> None:
    folder.write(
        DEFAULTS + f"  default_user_name: Support\ngateways:\n"
        f"  one:\n    protocol_type: IMAP\n    default_user_name: {empty}\n"
    )
    judged = folder.judge()
    assert "default_user_name" not in fields(judged)["one"]
    assert said(judged.problems, "missing-key", "bad-characters", "wrong-type") == []


def test_absent_null_and_empty_are_one(folder: Folder) -> None:
    ways = ["", "    default_user_name:\n", '    default_user_name: ""\n', "    port: null\n"]
    for number, way in enumerate(ways):
        folder.write(
            DEFAULTS.replace("support@", f"support{number}@")
            + f"gateways:\n  one{number}:\n    protocol_type: IMAP\n    user_id: same\n{way}",
            f"{number}.yaml",
        )
    declared = folder.judge().declared["local"]
    built = {Gateway.of("same", one.fields, one.certificate) for one in declared}
    assert (len(declared), len(built)) == (len(ways), 1)


@pytest.mark.parametrize("block", ["  one:", "  one: {}", "  one: null"])
def test_a_gateway_may_have_everything_from_defaults(folder: Folder, block: str) -> None:
    folder.write(DEFAULTS + f"  protocol_type: IMAP\ngateways:\n{block}\n")
    assert list(fields(folder.judge())) == ["one"]


def test_a_plain_gateway_is_not_copied(folder: Folder) -> None:
    folder.write(
        "gateways:\n  one:\n    protocol_type: IMAP\n"
        + DEFAULTS.removeprefix("defaults:\n").replace("  ", "    ")
    )
    project = folder.project()
    loaded = load(folder.root, "gateways.d")
    judged = judge(project, loaded, [project.target()], now=NOW)
    assert judged.declared["local"][0].fields is loaded.documents[0].data["gateways"]["one"]


def test_without_encryption_there_is_no_trust_anchor(folder: Folder) -> None:
    folder.write(DEFAULTS + "gateways:\n  one: {protocol_type: IMAP, encryption_mode: NONE}\n")
    assert folder.judge().declared["local"][0].certificate is None


# -- problems ------------------------------------------------------------------------------------


def test_a_broken_default_is_one_problem(folder: Folder) -> None:
    folder.write(
        DEFAULTS + "  prot: 1\n  encryption_mode: tls\ngateways:\n"
        "  one: {protocol_type: IMAP}\n  two: {protocol_type: POP3}\n"
    )
    judged = folder.judge()
    assert said(judged.problems, "unknown-key", "not-in-list", "certificate-required") == [
        "6:3 unknown-key",
        "7:20 not-in-list",
    ]
    assert judged.declared["local"] == ()


def test_all_problems_of_all_gateways_at_once(folder: Folder) -> None:
    folder.write("gateways:\n  one: {protocol_type: IMAP, port: true}\n  two: {host: 'a b'}\n")
    folder.write(DEFAULTS + "gateways:\n  three: {protocol_type: IMAP}\n", "other.yaml")
    judged = folder.judge()
    assert said(judged.problems, "missing-key", "wrong-type", "bad-host") == [
        "2:3 missing-key",
        "2:36 wrong-type",
        "3:3 missing-key",
        "3:15 bad-host",
    ]
    assert list(fields(judged)) == ["three"]
    assert list(judged.problems) == sorted(judged.problems)


def test_problems_of_loading_are_among_them(folder: Folder) -> None:
    folder.write("gateways: {\n", "broken.yaml")
    folder.write(DEFAULTS + "gateways:\n  one: {protocol_type: IMAP}\n")
    judged = folder.judge()
    assert "gateways.d/broken.yaml" in {problem.place.file for problem in judged.problems}
    assert list(fields(judged)) == ["one"]


def test_a_broken_gateway_still_takes_its_name(folder: Folder) -> None:
    folder.write(DEFAULTS + "gateways:\n  one: {protocol_type: IMAP}\n", "a.yaml")
    folder.write(
        "gateways:\n  one: {protocol_type: imap, user_password: [a], labels: [b]}\n", "b.yaml"
    )
    twice = [one for one in folder.judge().problems if one.rule == "duplicate-gateway"]
    assert [str(one.place) for one in twice] == ["gateways.d/a.yaml:7:3", "gateways.d/b.yaml:2:3"]
    assert [one.place.file for one in about(twice, ["./gateways.d/b.yaml"])] == [
        "gateways.d/b.yaml"
    ]
    assert about(twice, ["gateways.d/c.yaml"]) == ()


def test_of_a_file_that_was_asked_about_nothing_is_missed(folder: Folder) -> None:
    """Each gateway warns by a rule of its own, and both together clash."""
    plain = "gateways:\n  {name}: {{protocol_type: IMAP, encryption_mode: NONE}}\n"
    folder.write(DEFAULTS + plain.format(name="one"), "a.yaml")
    folder.write(DEFAULTS + plain.format(name="two"), "b.yaml")
    project, loaded = folder.project(), load(folder.root, "gateways.d")
    targets = [*project.targets.values()]
    everything = judge(project, loaded, targets, now=NOW).problems
    file = "gateways.d/b.yaml"
    asked = judge(project, loaded, targets, now=NOW, asked=lambda one: one == file).problems
    assert about(asked, [file]) == about(everything, [file])
    slugs = {"plaintext-connection", "duplicate-mailbox"}
    assert slugs <= {one.rule for one in about(asked, [file])}
    assert "plaintext-connection" not in {one.rule for one in about(asked, ["gateways.d/a.yaml"])}


def test_a_gateway_with_a_bad_name_goes_no_further(folder: Folder) -> None:
    folder.write(DEFAULTS + "gateways:\n  one two: {protocol_type: IMAP}\n")
    judged = folder.judge()
    assert judged.declared["local"] == ()
    assert said(judged.problems, "bad-name") == ["7:3 bad-name"]


def test_a_number_that_only_json_calls_whole(folder: Folder) -> None:
    """Without defaults too, where one call judges the whole file."""
    folder.write(
        "gateways:\n  one:\n    protocol_type: IMAP\n    port: 993.0\n"
        + DEFAULTS.removeprefix("defaults:\n").replace("  ", "    ")
    )
    assert said(folder.judge().problems, "wrong-type") == ["4:11 wrong-type"]


# -- targets -------------------------------------------------------------------------------------

TWO: Final = """\
targets:
  test: {platform: embedded, variables: {domain: example.net}, select: {env: test}}
  live: {platform: embedded, variables: {domain: example.com}, errors: [starttls-connection]}
default_target: test
"""


def test_variables_are_those_of_the_target(folder: Folder) -> None:
    folder.write(
        DEFAULTS.replace("mail.example.com", '"mail.{{ domain }}"')
        + "gateways:\n  one: {protocol_type: IMAP, labels: {env: test}}\n"
    )
    judged = folder.judge(TWO)
    assert fields(judged, "test")["one"]["host"] == "mail.example.net"
    assert fields(judged, "live")["one"]["host"] == "mail.example.com"
    assert judged.declared["test"][0].place("host").line == 2


def test_a_target_selects_by_labels(folder: Folder) -> None:
    folder.write(
        DEFAULTS + "gateways:\n  one: {protocol_type: IMAP, labels: {env: test}}\n"
        "  two: {protocol_type: POP3, labels: {env: live}}\n"
        '  three: {protocol_type: IMAP, user_id: u3, labels: {env: "{{ domain }}"}}\n'
        "  four: {protocol_type: IMAP, user_id: u4}\n"
    )
    judged = folder.judge(TWO)
    assert set(fields(judged, "test")) == {"one"}
    assert set(fields(judged, "live")) == {"one", "two", "three", "four"}


def test_what_a_target_does_not_select_need_not_fit_it(folder: Folder) -> None:
    folder.write(
        DEFAULTS.replace("mail.example.com", '"{{ only_live }}"')
        + "gateways:\n  one: {protocol_type: IMAP, labels: {env: live}}\n"
    )
    text = TWO.replace("domain: example.com", "only_live: mail.example.com")
    assert said(folder.judge(text).problems, "undefined-variable") == []


def test_two_targets_may_use_one_name(folder: Folder) -> None:
    for env in ("test", "live"):
        folder.write(
            DEFAULTS + f"gateways:\n  one: {{protocol_type: IMAP, labels: {{env: {env}}}}}\n",
            f"{env}.yaml",
        )
    both = TWO.replace("errors:", "select: {env: live}, errors:")
    assert said(folder.judge(both).problems, "duplicate-gateway") == []
    assert len(said(folder.judge(TWO).problems, "duplicate-gateway")) == 2


def test_plain_gateways_are_shared_between_targets(folder: Folder) -> None:
    folder.write(DEFAULTS + "gateways:\n  one: {protocol_type: IMAP, labels: {env: test}}\n")
    judged = folder.judge(TWO)
    assert judged.declared["test"][0] is judged.declared["live"][0]


def test_a_target_makes_warnings_errors(folder: Folder) -> None:
    folder.write(
        DEFAULTS + "gateways:\n"
        "  one: {protocol_type: IMAP, encryption_mode: STARTTLS, labels: {env: test}}\n"
    )

    def severities(*targets: str) -> list[Severity]:
        judged = folder.judge(TWO, targets)
        return [one.severity for one in judged.problems if one.rule == "starttls-connection"]

    assert severities("test") == [Severity.WARNING]
    assert severities("live") == [Severity.ERROR]
    assert severities("test", "live") == [Severity.ERROR]


def test_warnings_of_loading_can_be_errors_too(folder: Folder) -> None:
    folder.write("# nothing\n", "empty.yaml")
    folder.write(DEFAULTS + "gateways:\n  one: {protocol_type: IMAP}\n")
    text = "targets: {local: {platform: embedded, errors: [empty-file]}}\n"
    found = [one.severity for one in folder.judge(text).problems if one.rule == "empty-file"]
    assert found == [Severity.ERROR]


@pytest.mark.parametrize("targets", [("test",), ("live",), ("test", "live")])
def test_what_another_target_uses_is_not_unused(folder: Folder, targets: tuple[str, ...]) -> None:
    secrets = folder.root / "gateways.d/secrets"
    secrets.mkdir()
    shutil.copy(SECRETS, secrets)
    both = TWO.replace("errors:", "select: {env: live}, errors:")

    def unused(name: str) -> set[str]:
        folder.write(
            DEFAULTS.replace("support_mailbox", name)
            + "gateways:\n  one: {protocol_type: IMAP, labels: {env: live}}\n"
        )
        judged = folder.judge(both, targets)
        assert set(judged.secrets) == set(judged.declared) == set(targets)
        rules = ("unused-secret", "unreferenced-certificate")
        return {one.rule for one in judged.problems if one.rule in rules}

    assert unused("mailbox") == set()
    assert unused("another") == {"unused-secret"}


# -- nothing gets out ----------------------------------------------------------------------------

CANARY: Final = "hunter2-canary"
LEAVES: Final = st.one_of(
    st.none(), st.booleans(), st.integers(0, 99999), st.sampled_from([CANARY, f"x{CANARY}", "TLS"])
)
VALUES: Final = st.one_of(
    LEAVES,
    st.lists(LEAVES, max_size=2),
    st.dictionaries(st.sampled_from(["secret", "value", CANARY, "a"]), LEAVES, max_size=2),
)


@given(VALUES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_message_repeats_what_stands_as_password(value: Any) -> None:
    block = {"protocol_type": "IMAP", "host": "a", "user_id": "u", "user_password": value}
    for definition, data in (
        ("gateway", block),
        ("file", {"gateways": {"one": block}}),
        ("file", {"defaults": {"user_password": value}, "gateways": {"one": None}}),
    ):
        faults: list[SchemaFault] = in_words(errors("gateways", definition, data))
        for fault in faults:
            assert CANARY not in fault.message + fault.hint
            assert not any(CANARY in str(step) for step in fault.path)


def test_a_literal_password_makes_no_other_noise(folder: Folder) -> None:
    folder.write(
        DEFAULTS.replace("{secret: support_mailbox}", CANARY)
        + "gateways:\n  one: {protocol_type: IMAP}\n"
    )
    judged = folder.judge()
    assert [one.rule for one in judged.problems] == ["literal-password"]
    assert CANARY not in repr(judged.problems)
