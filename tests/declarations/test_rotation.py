"""Rotation told without a key: what the real sops leaves alone, and what a forger cannot do."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from reconciler.declarations import rotation
from reconciler.declarations.load import load
from reconciler.declarations.project import Project, read_project
from reconciler.declarations.resolve import resolve
from reconciler.declarations.secrets import SecretFiles
from reconciler.declarations.validate import judge
from reconciler.errors import SecretsUnavailable
from reconciler.model import SecretState
from tests.declarations.sops_support import Age, real_sops, sops

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SETTINGS = b"targets: {local: {platform: embedded}}\n"
FILE = "gateways.d/secrets/main.sops.yaml"
PLAIN = """\
fingerprint_key: kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
one: alpha
two: beta
bound:
    value: gamma
    hosts:
        - mail.example.com
"""
NAMES = ("one", "two", "bound")
ROTATED, UNCHANGED, NOT_COMPARED = (
    SecretState.ROTATED,
    SecretState.UNCHANGED,
    SecretState.NOT_COMPARED,
)


class Repository:
    """A commit and a tree after it, each with a gateway for each secret, of the secret's name."""

    def __init__(self, root: Path) -> None:
        self.age = Age(root / "home")
        self.base = root / "base"
        self.tree = root / "tree"
        self.write(self.base, FILE, self.age.encrypt(PLAIN))
        self.declare(self.base, {name: name for name in NAMES})
        self.write(self.tree, FILE, (self.base / FILE).read_bytes())
        self.declare(self.tree, {name: name for name in NAMES})

    @property
    def file(self) -> Path:
        return self.tree / FILE

    def write(self, root: Path, name: str, content: bytes) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    def declare(self, root: Path, secrets: Mapping[str, str]) -> None:
        gateways = {
            name: {
                "protocol_type": "IMAP",
                "host": "mail.example.com",
                "user_id": f"{name}@example.com",
                "user_password": {"secret": secret},
                "encryption_mode": "NONE",
            }
            for name, secret in secrets.items()
        }
        text = yaml.safe_dump({"gateways": gateways})
        self.write(root, "gateways.d/mail.yaml", text.encode())

    def sops(self, *arguments: str) -> None:
        """Run the real sops, with the key, on the tree's file."""
        sops(arguments, b"", self.age.environ)

    def set(self, path: str, value: str) -> None:
        self.sops("set", str(self.file), path, f'"{value}"')

    def told(self) -> dict[str, SecretState | None]:
        return self.compared()[0]

    def compared(self) -> tuple[dict[str, SecretState | None], list[str]]:
        """What is told of each gateway's password, and the files of other keys."""
        target = read_project(SETTINGS, self.tree).target()
        base = rotation.base_of(self.base, target, NOW)
        loaded = load(self.tree, target.declarations)
        project = Project(self.tree, {target.name: target}, target.name)
        verdict = judge(project, loaded, [target], now=NOW)
        secrets = SecretFiles.scan(self.tree, target.secrets, (), environ={})
        declared = verdict.declared[target.name]
        desired = resolve(declared, target, secrets, keyless=True)
        found, problems = rotation.since(base, desired.gateways, secrets)
        assert {one.rule for one in problems} <= {"secrets-file-keys"}
        files = [one.place.file for one in problems]
        return {one.gateway.name: one.since_base for one in found}, files

    def older(self) -> list[str]:
        """The files that were written later at the commit."""
        target = read_project(SETTINGS, self.tree).target()
        secrets = SecretFiles.scan(self.tree, target.secrets, (), environ={})
        found = rotation.older(rotation.sealed_of(self.base, target), secrets, NAMES)
        assert {one.rule for one in found} <= {"secrets-file-older"}
        return [one.place.file for one in found]

    def written_at(self) -> str:
        return str(yaml.safe_load(self.file.read_bytes())["sops"]["lastmodified"])

    def opens(self) -> bool:
        """Whether whoever has the key can read what there is."""
        environ = dict(self.age.environ)
        secrets = SecretFiles.scan(self.tree, (FILE,), (), environ=environ)
        try:
            return secrets.read(NAMES).secrets.keys() == set(NAMES)
        except SecretsUnavailable:
            return False


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    real_sops()
    return Repository(tmp_path)


ALL_THE_SAME = dict.fromkeys(NAMES, UNCHANGED)
NOTHING_TOLD = dict.fromkeys(NAMES)


def test_an_earlier_state_of_a_file_is_told_by_when_sops_wrote_it(repository: Repository) -> None:
    """A8: it is a good file, of passwords that were replaced; it cannot be dated forward."""
    assert repository.older() == []
    before = repository.file.read_bytes()
    then = yaml.safe_load(before)["sops"]["lastmodified"]
    while repository.written_at() == then:  # seconds are all that sops tells
        repository.set('["one"]', "alpha-2")
        repository.set('["one"]', "alpha-3")
    assert repository.older() == [], "the tree is newer"
    now = repository.written_at()
    repository.write(repository.base, FILE, repository.file.read_bytes())
    assert repository.older() == []
    repository.file.write_bytes(before)
    assert repository.older() == [FILE]
    assert repository.opens()
    repository.file.write_bytes(before.replace(then.encode(), now.encode()))
    assert repository.older() == []
    assert not repository.opens()


def test_nothing_changed(repository: Repository) -> None:
    assert repository.compared() == (ALL_THE_SAME, [])


def test_sops_set_leaves_the_other_ciphertexts_alone(repository: Repository) -> None:
    repository.set('["one"]', "alpha-2")
    assert repository.compared() == ({**ALL_THE_SAME, "one": ROTATED}, [])
    repository.set('["bound"]["value"]', "gamma-2")
    assert repository.told() == {"one": ROTATED, "two": UNCHANGED, "bound": ROTATED}


def test_sops_set_to_the_same_value_changes_nothing(repository: Repository) -> None:
    repository.set('["one"]', "alpha")
    assert repository.told() == ALL_THE_SAME


def test_sops_edit_leaves_the_other_ciphertexts_alone(
    repository: Repository, tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/beta/beta-2/" "$1"\necho "three: delta" >> "$1"\n')
    editor.chmod(0o755)
    sops(["edit", str(repository.file)], b"", {**repository.age.environ, "EDITOR": str(editor)})
    assert repository.told() == {**ALL_THE_SAME, "two": ROTATED}


def test_another_host_of_a_binding_is_no_other_password(repository: Repository) -> None:
    repository.set('["bound"]["hosts"][0]', "mail.example.org")
    assert repository.told() == ALL_THE_SAME


def test_a_removed_secret_leaves_the_others(repository: Repository) -> None:
    repository.sops("unset", str(repository.file), '["one"]')
    repository.declare(repository.tree, {"two": "two", "bound": "bound"})
    assert repository.told() == {"two": UNCHANGED, "bound": UNCHANGED}


def test_sops_rotate_gives_every_value_another_ciphertext(repository: Repository) -> None:
    repository.sops("rotate", "-i", str(repository.file))
    assert repository.compared() == (NOTHING_TOLD, [FILE])
    assert repository.opens()


def test_sops_updatekeys_wraps_the_key_for_each_recipient_anew(
    repository: Repository, tmp_path: Path
) -> None:
    """The ciphertexts stay, but nobody without a key can know that the key did."""
    before = yaml.safe_load(repository.file.read_bytes())
    other = Age(tmp_path / "other")
    rules = {"path_regex": ".*", "age": f"{repository.age.recipient},{other.recipient}"}
    config = tmp_path / "rules.yaml"
    config.write_text(yaml.safe_dump({"creation_rules": [rules]}))
    repository.sops("--config", str(config), "updatekeys", "-y", str(repository.file))
    after = yaml.safe_load(repository.file.read_bytes())
    assert {**before, "sops": None} == {**after, "sops": None}
    assert before["sops"]["age"][0]["enc"] != after["sops"]["age"][0]["enc"]
    assert repository.compared() == (NOTHING_TOLD, [FILE])


def test_another_secrets_name_cannot_be_compared(repository: Repository) -> None:
    repository.declare(repository.tree, {"one": "two", "two": "two", "bound": "bound"})
    assert repository.told() == {**ALL_THE_SAME, "one": NOT_COMPARED}


def test_what_the_commit_does_not_have_cannot_be_compared(repository: Repository) -> None:
    repository.declare(repository.base, {"two": "two"})
    assert repository.told() == {"one": NOT_COMPARED, "two": UNCHANGED, "bound": NOT_COMPARED}


def test_a_secret_that_becomes_bound_cannot_be_compared(repository: Repository) -> None:
    repository.sops("unset", str(repository.file), '["one"]')
    repository.sops("set", str(repository.file), '["one"]', '{"value": "alpha"}')
    assert repository.told() == {**ALL_THE_SAME, "one": NOT_COMPARED}


def test_a_file_that_moves_is_the_same_file(repository: Repository) -> None:
    repository.file.rename(repository.file.with_name("mail.sops.yaml"))
    assert repository.told() == ALL_THE_SAME


def test_a_secret_that_moves_to_a_file_of_its_own(repository: Repository) -> None:
    repository.sops("unset", str(repository.file), '["one"]')
    other = "gateways.d/secrets/other.sops.yaml"
    repository.write(repository.tree, other, repository.age.encrypt("one: alpha\n"))
    assert repository.compared() == ({**ALL_THE_SAME, "one": None}, [other])


Sops = dict[str, object]


def copy_a_ciphertext(tree: Sops, _base: Sops, _mine: Sops) -> None:
    tree["one"] = tree["two"]


def bring_in_a_ciphertext(tree: Sops, _base: Sops, mine: Sops) -> None:
    tree["one"] = mine["one"]


def keep_the_wrapped_key(tree: Sops, base: Sops, mine: Sops) -> None:
    """Everything encrypted under a key of the forger's, the old wrapped key above it."""
    tree.update({**mine, "sops": base["sops"]})


def take_the_mac_too(tree: Sops, base: Sops, mine: Sops) -> None:
    """What only an edit changes is the forger's; what says of keys is the old."""
    theirs, ours = dict(base["sops"]), mine["sops"]  # type: ignore[call-overload]
    theirs.update({name: ours[name] for name in ("mac", "lastmodified")})  # type: ignore[index]
    tree.update({**mine, "sops": theirs})


@pytest.mark.parametrize(
    "forge", [copy_a_ciphertext, bring_in_a_ciphertext, keep_the_wrapped_key, take_the_mac_too]
)
def test_a_forged_ciphertext_is_told_as_another_password_and_opens_for_nobody(
    repository: Repository, forge: Callable[[Sops, Sops, Sops], None]
) -> None:
    """A4, A7: anybody can encrypt for the recipients; nobody without a key can do it unseen."""
    tree = yaml.safe_load(repository.file.read_bytes())
    mine = yaml.safe_load(repository.age.encrypt(PLAIN.replace("alpha", "forged")))
    forge(tree, yaml.safe_load(repository.file.read_bytes()), mine)
    repository.file.write_text(yaml.safe_dump(tree, sort_keys=False))
    assert repository.told()["one"] is ROTATED
    assert not repository.opens()


def keep_the_ciphertext(base: Sops, mine: Sops) -> Sops:
    """One old ciphertext among values under a key of the forger's."""
    return {**mine, "one": base["one"]}


def keep_all_but_the_keys(base: Sops, mine: Sops) -> Sops:
    return {**base, "sops": mine["sops"]}


def keep_one_recipient(base: Sops, mine: Sops) -> Sops:
    """The first recipient's copy of the old key, and one of the forger's key for the same one."""
    theirs, ours = base["sops"], mine["sops"]
    keys = [*theirs["age"], *ours["age"]]  # type: ignore[index]
    return {**base, "sops": {**ours, "age": keys}}  # type: ignore[dict-item]


@pytest.mark.parametrize("forge", [keep_the_ciphertext, keep_all_but_the_keys, keep_one_recipient])
def test_no_password_is_called_unchanged_under_other_keys(
    repository: Repository, forge: Callable[[Sops, Sops], Sops]
) -> None:
    """A4, A7: whoever keeps the ciphertexts and brings in a key of his own is not believed."""
    base = yaml.safe_load(repository.file.read_bytes())
    mine = yaml.safe_load(repository.age.encrypt(PLAIN))
    repository.file.write_text(yaml.safe_dump(forge(base, mine), sort_keys=False))
    assert repository.compared() == (NOTHING_TOLD, [FILE])


def test_the_whole_file_of_a_forger_opens_and_is_warned_of(repository: Repository) -> None:
    """It is a good file, and nobody can tell by it who wrote it: so it must not pass unseen."""
    repository.file.write_bytes(repository.age.encrypt(PLAIN.replace("alpha", "forged")))
    assert repository.opens()
    assert repository.compared() == (NOTHING_TOLD, [FILE])
