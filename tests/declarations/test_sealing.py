"""Storing a new secret: by the real sops where there is one, by the project's rules alone."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from pyrage import x25519

from reconciler.declarations.secrets import SecretFiles
from reconciler.declarations.sops.sealing import Sealer, sealer_of
from reconciler.errors import InvalidInput, SecretsUnavailable
from reconciler.model import Secret
from tests.declarations.sops_support import real_sops

FILE = "gateways.d/secrets/support.sops.yaml"
PASSWORD = "p\u00e4ss \"quoted\" \\ \U0001f511 'x' \u0085:#{}"
IDENTITY = x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())
RULE = {"path_regex": r"^gateways\.d/secrets/.*\.sops\.yaml$", "age": RECIPIENT}


@pytest.fixture(params=["sops", "alone"])
def sealer(request: pytest.FixtureRequest, tmp_path: Path) -> Sealer:
    """With the real sops, and with none."""
    rules(tmp_path, RULE)
    program = real_sops() if request.param == "sops" else None
    return Sealer(tmp_path, program, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)})


def rules(root: Path, *given: object) -> None:
    (root / ".sops.yaml").write_text(yaml.safe_dump({"creation_rules": list(given)}))


def place(sealer: Sealer, sealed: bytes) -> Path:
    path = sealer.root / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(sealed)
    return path


def test_what_is_sealed_opens_and_is_bound(sealer: Sealer) -> None:
    sealed = sealer.seal(FILE, "support", Secret(PASSWORD), ("mail.acme.test", "smtp.acme.test"))
    assert PASSWORD.encode() not in sealed
    assert b"acme" not in sealed
    path = place(sealer, sealed)
    files = SecretFiles.scan(
        sealer.root, [FILE], [], environ={"SOPS_AGE_KEY": str(IDENTITY), "HOME": "/nonexistent"}
    )
    assert files.problems == ()
    bound = files.decrypt(["support"])["support"]
    assert bound.value.reveal() == PASSWORD
    assert bound.hosts == ("mail.acme.test", "smtp.acme.test")
    opened = subprocess.run(
        [real_sops(), "decrypt", "--output-type", "json", path],
        env={"SOPS_AGE_KEY": str(IDENTITY), "SOPS_DISABLE_VERSION_CHECK": "1"},
        capture_output=True,
        check=True,
    )
    assert json.loads(opened.stdout)["support"]["value"] == PASSWORD


def test_without_hosts_it_is_the_value_alone(sealer: Sealer) -> None:
    path = place(sealer, sealer.seal(FILE, "support", Secret("true"), ()))
    assert list(yaml.safe_load(path.read_bytes())) == ["support", "sops"]
    assert yaml.safe_load(path.read_bytes())["support"].startswith("ENC[")


def test_no_rules_file(sealer: Sealer) -> None:
    (sealer.root / ".sops.yaml").unlink()
    with pytest.raises(InvalidInput, match=r"no \.sops\.yaml"):
        sealer.seal(FILE, "a", Secret(PASSWORD), ())


@pytest.mark.parametrize(
    "given",
    [
        [],
        [{"path_regex": "elsewhere", "age": RECIPIENT}],
        [{"path_regex": "secrets"}],
        [{"path_regex": "secrets", "age": ""}],
    ],
    ids=["none", "of other files", "without keys", "with no recipient"],
)
def test_rules_that_name_nobody(sealer: Sealer, given: list[object]) -> None:
    rules(sealer.root, *given)
    with pytest.raises(SecretsUnavailable) as caught:
        sealer.seal(FILE, "a", Secret(PASSWORD), ())
    assert PASSWORD not in caught.value.message + caught.value.hint


def test_without_sops_a_rule_of_another_kind_is_not_followed(tmp_path: Path) -> None:
    """Nor one that names keys beyond age, which must then be able to read it too."""
    rules(tmp_path, {**RULE, "pgp": "FBC7B9E2A4F9289AC0C1D4843D16CEE4"})
    with pytest.raises(SecretsUnavailable, match="no sops") as caught:
        Sealer(tmp_path, None, {}).seal(FILE, "a", Secret(PASSWORD), ())
    assert "install sops" in caught.value.hint


def test_a_rule_that_leaves_values_in_clear_is_refused(tmp_path: Path) -> None:
    rules(tmp_path, {**RULE, "encrypted_regex": "^hosts$"})
    sealer = sealer_of(tmp_path, {"PATH": str(real_sops().parent)})
    assert sealer.program
    with pytest.raises(InvalidInput, match="in clear") as caught:
        sealer.seal(FILE, "a", Secret(PASSWORD), ("mail.acme.test",))
    assert PASSWORD not in caught.value.message + caught.value.hint


def test_the_environment_adds_no_recipient(tmp_path: Path) -> None:
    """What SOPS_AGE_RECIPIENTS names would read it instead of those of the rules."""
    rules(tmp_path, RULE)
    stranger = str(x25519.Identity.generate().to_public())
    sealer = Sealer(tmp_path, real_sops(), {"SOPS_AGE_RECIPIENTS": stranger})
    sealed = sealer.seal(FILE, "a", Secret(PASSWORD), ())
    assert stranger.encode() not in sealed
    assert RECIPIENT.encode() in sealed
