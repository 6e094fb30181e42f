"""`gateways init`: what it makes validates, can be decrypted, and is never overwritten."""

import base64
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from reconciler import schemas
from reconciler.cli import age_keys, scaffold
from reconciler.cli.init import PLACEHOLDER, WHERE_SOPS_IS
from reconciler.cli.root import root
from reconciler.errors import ExitCode, InvalidInput, SecretsUnavailable, WrongUsage

pyrage = pytest.importorskip("pyrage")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own: no test may see or make a key of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("SOPS_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "Acme Mail"


def init(*arguments: object, typed: str | None = None) -> Result:
    return CliRunner().invoke(root, ["init", *map(str, arguments)], input=typed)


def done(*arguments: object, typed: str | None = None) -> Result:
    result = init(*arguments, typed=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def key_file(home: Path) -> Path:
    return home / ".config" / "sops" / "age" / "keys.txt"


def program(name: str) -> str | None:
    """Of the environment that the tests run in, or else of the machine."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def decrypted(folder: Path, key: Path) -> Mapping[str, str]:
    """By the real sops: what we write must be readable by everyone else's tool."""
    sops = program("sops")
    assert sops, "sops comes with the locked requirements"
    environment = {
        "SOPS_AGE_KEY_FILE": str(key),
        "SOPS_DISABLE_VERSION_CHECK": "1",
        "PATH": os.environ["PATH"],
    }
    command_line = [sops, "decrypt", str(folder / scaffold.SECRETS)]
    output = subprocess.run(command_line, env=environment, capture_output=True, check=True).stdout
    loaded = yaml.safe_load(output)
    assert isinstance(loaded, dict)
    return loaded


def test_it_makes_every_file_and_says_so(folder: Path, home: Path) -> None:
    result = done(folder)
    assert result.exit_code == ExitCode.DONE
    assert sorted(contents(folder)) == sorted(scaffold.paths())
    for path in (*scaffold.paths(), str(key_file(home))):
        assert f"made  {path}\n" in result.stdout
    assert "gateways plan" in result.stderr
    assert PLACEHOLDER in result.stderr


@pytest.mark.parametrize("installed", [True, False])
def test_it_says_where_sops_comes_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, installed: bool
) -> None:
    tools = folder.parent / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    if installed:
        (tools / "sops").touch(mode=0o755)
    said = done(folder).stderr
    assert "sops edit" in said
    assert (WHERE_SOPS_IS in said) is not installed


def test_again_it_changes_nothing(folder: Path, home: Path) -> None:
    done(folder)
    before, key = contents(folder), key_file(home).read_bytes()
    result = done(folder)
    assert result.exit_code == ExitCode.DONE
    assert "made" not in result.stdout
    assert (contents(folder), key_file(home).read_bytes()) == (before, key)


def test_the_samples_certificate_comes_with_the_sample_only(folder: Path) -> None:
    """Who has removed it has another root, and a file that nobody uses is warned of."""
    root = folder / "gateways.d/certs/isrg-root-x1.pem"
    done(folder)
    root.unlink()
    assert "made  gateways.d/certs/isrg-root-x1.pem" in done(folder).stdout, "the sample names it"
    declaration = folder / scaffold.DECLARATION
    declaration.write_text(declaration.read_text().replace(root.name, "ours.pem"))
    root.unlink()
    (folder / scaffold.SECRETS).unlink()
    again = done(folder).stdout
    assert f"made  {scaffold.SECRETS}" in again
    assert root.name not in again
    assert not root.exists()


@pytest.mark.parametrize("path", scaffold.paths())
def test_a_file_that_is_there_stays(folder: Path, path: str) -> None:
    done(folder)
    made = contents(folder)
    mine = b"creation_rules: [{age: " + recipient() + b"}]\n"
    (folder / path).write_bytes(mine)
    for other in set(made) - {path}:
        (folder / other).unlink()
    done(folder)
    assert (folder / path).read_bytes() == mine
    certificate = {"gateways.d/certs/isrg-root-x1.pem"} if path == scaffold.DECLARATION else set()
    assert contents(folder).keys() == set(scaffold.paths()) - certificate


def recipient() -> bytes:
    return str(pyrage.x25519.Identity.generate().to_public()).encode()


def test_settings_and_declaration_fit_the_schemas(folder: Path) -> None:
    done(folder, "--host", "mx.example.org")
    settings = yaml.safe_load((folder / scaffold.SETTINGS).read_text())
    assert schemas.gate("project")(settings)
    assert settings["owner"] == "acme-mail"
    declaration = yaml.safe_load((folder / scaffold.DECLARATION).read_text())
    assert schemas.gate("gateways")(declaration)
    assert declaration["defaults"]["host"] == "mx.example.org"
    assert (folder / scaffold.DECLARATION).read_text().count("mx.example.org") == 1


def test_the_editor_lines_lead_to_the_schemas(folder: Path) -> None:
    done(folder)
    for path in (scaffold.SETTINGS, scaffold.DECLARATION):
        match = re.match(r"# yaml-language-server: \$schema=(\S+)\n", (folder / path).read_text())
        assert match
        assert (folder / path).parent.joinpath(match[1]).resolve().is_file()


def test_the_secrets_are_encrypted_for_the_key(folder: Path, home: Path) -> None:
    done(folder, "--password-stdin", typed="correct horse\n")
    assert b"correct horse" not in b"".join(contents(folder).values())
    secrets = decrypted(folder, key_file(home))
    assert secrets["support_mailbox"] == "correct horse"
    assert len(base64.b64decode(secrets["fingerprint_key"], validate=True)) == 32


def test_two_projects_have_different_fingerprint_keys(tmp_path: Path, home: Path) -> None:
    keys = set()
    for name in ("one", "two"):
        done(tmp_path / name)
        keys.add(decrypted(tmp_path / name, key_file(home))["fingerprint_key"])
    assert len(keys) == 2


def test_without_a_password_the_value_says_so(folder: Path, home: Path) -> None:
    done(folder)
    assert decrypted(folder, key_file(home))["support_mailbox"] == PLACEHOLDER


def test_the_key_file_is_for_its_owner_alone(folder: Path, home: Path) -> None:
    done(folder)
    assert stat.S_IMODE(key_file(home).stat().st_mode) == 0o600
    assert key_file(home).read_text().count("AGE-SECRET-KEY-1") == 1
    assert "AGE-SECRET-KEY" not in done(folder).output


def test_a_key_that_is_there_is_used(folder: Path, home: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    key_file(home).parent.mkdir(parents=True)
    key_file(home).write_text(f"# mine\n{identity}\n")
    result = done(folder)
    assert f"used  {key_file(home)}" in result.stdout
    assert key_file(home).read_text() == f"# mine\n{identity}\n"
    assert str(identity.to_public()) in (folder / scaffold.SOPS_SETTINGS).read_text()
    assert decrypted(folder, key_file(home))


def test_a_key_is_added_to_a_file_without_one(folder: Path, home: Path) -> None:
    key_file(home).parent.mkdir(parents=True)
    key_file(home).write_text("# no key yet, and no newline")
    key_file(home).chmod(0o644)
    done(folder)
    lines = key_file(home).read_text().splitlines()
    assert lines[0] == "# no key yet, and no newline"
    assert lines[-1].startswith("AGE-SECRET-KEY-1")
    assert stat.S_IMODE(key_file(home).stat().st_mode) == 0o600


def test_a_key_file_of_choice(folder: Path, tmp_path: Path, home: Path) -> None:
    result = done(folder, "--age-key", tmp_path / "keys" / "acme.txt")
    assert decrypted(folder, tmp_path / "keys" / "acme.txt")
    assert not key_file(home).exists()
    assert f"SOPS_AGE_KEY_FILE={tmp_path / 'keys' / 'acme.txt'}" in result.stderr


def test_a_key_of_the_environment_is_used(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = pyrage.x25519.Identity.generate()
    monkeypatch.setenv("SOPS_AGE_KEY", str(identity))
    done(folder)
    assert not key_file(home).exists()
    assert str(identity.to_public()) in (folder / scaffold.SOPS_SETTINGS).read_text()


@pytest.mark.parametrize("inside", ["key.txt", "deep/er/key.txt"])
def test_the_key_never_lands_in_the_repository(folder: Path, inside: str) -> None:
    (folder / ".git").mkdir(parents=True)
    project = folder / "mail"
    result = init(project, "--age-key", folder / inside)
    assert isinstance(result.exception, WrongUsage)
    assert not (folder / inside).exists()
    assert not project.exists()


def test_a_damaged_key_is_named_and_not_shown(folder: Path, home: Path) -> None:
    key_file(home).parent.mkdir(parents=True)
    key_file(home).write_text("AGE-SECRET-KEY-1DAMAGED\n")
    result = init(folder)
    assert isinstance(result.exception, SecretsUnavailable)
    assert "DAMAGED" not in result.exception.message + result.exception.hint
    assert not folder.exists()


def test_recipients_of_a_sops_yaml_that_is_there(folder: Path, home: Path) -> None:
    key = age_keys.find_or_make(None, {"HOME": str(home)}, folder)
    folder.mkdir()
    other = recipient().decode()
    rule = {"path_regex": "secrets/", "age": [other, key.recipient]}
    (folder / ".sops.yaml").write_text(yaml.safe_dump({"creation_rules": [rule]}))
    done(folder)
    assert decrypted(folder, key_file(home))
    assert other in (folder / scaffold.SECRETS).read_text()


def test_a_sops_yaml_without_age_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / ".sops.yaml").write_text("creation_rules: [{pgp: FBC7B9E2A4F9289AC0C1D4843D16CEE4}]")
    result = init(folder)
    assert isinstance(result.exception, InvalidInput)
    assert sorted(contents(folder)) == [".sops.yaml"]


@pytest.mark.parametrize("typed", ["", "\n", "x" * 65, "tab\tbed\n", "bell\x07\n"])
def test_a_password_that_no_gateway_could_have(folder: Path, typed: str) -> None:
    result = init(folder, "--password-stdin", typed=typed)
    assert isinstance(result.exception, WrongUsage)
    assert typed.strip() == "" or typed.strip() not in result.exception.message
    assert not folder.exists()


def test_a_password_for_a_file_that_is_there(folder: Path) -> None:
    done(folder)
    before = contents(folder)
    result = init(folder, "--password-stdin", typed="another\n")
    assert isinstance(result.exception, WrongUsage)
    assert contents(folder) == before


@pytest.mark.parametrize("host", ["https://mail.example.com", "mail.example.com:465", "a b", ""])
def test_a_host_that_is_none(folder: Path, host: str) -> None:
    assert isinstance(init(folder, "--host", host).exception, WrongUsage)
    assert not folder.exists()


@pytest.mark.parametrize("host", ["localhost", "192.0.2.25", "2001:db8::25", "no", "3com.example"])
def test_hosts_stay_text(folder: Path, host: str) -> None:
    done(folder, "--host", host)
    declaration = yaml.safe_load((folder / scaffold.DECLARATION).read_text())
    assert declaration["defaults"]["host"] == host


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("acme-mail", "acme-mail"),
        ("Acme Mail (2026)", "acme-mail-2026"),
        ("2026", "2026"),
        ("yes", "yes"),
        ("\u90ae\u4ef6", "gateways"),
        ("a" * 80, "a" * 64),
    ],
)
def test_an_owner_from_the_name_of_the_folder(tmp_path: Path, name: str, owner: str) -> None:
    done(tmp_path / name)
    settings = yaml.safe_load((tmp_path / name / scaffold.SETTINGS).read_text())
    assert settings["owner"] == owner
    assert schemas.gate("project")(settings)


def test_a_gitignore_that_is_there_is_left_with_a_note(folder: Path) -> None:
    folder.mkdir()
    (folder / ".gitignore").write_text("*.pyc\n")
    assert "add the line .gateways/" in done(folder).stdout
    (folder / ".gitignore").write_text("*.pyc\n.gateways/\n")
    assert "add the line .gateways/" not in done(folder).stdout


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert isinstance(init(tmp_path / "file").exception, WrongUsage)


def test_a_file_where_a_folder_must_be(folder: Path) -> None:
    """As in a folder that may not be written to: told, and no bug of ours."""
    folder.mkdir()
    (folder / "schema").write_text("")
    error = init(folder).exception
    assert isinstance(error, WrongUsage)
    assert "schema/gateways.schema.json cannot be written: File exists" in error.message


def test_in_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    error = init().exception
    assert isinstance(error, WrongUsage)
    assert "is gone" in error.message


def test_a_rule_of_sops_that_is_no_expression(folder: Path) -> None:
    folder.mkdir()
    rules = "creation_rules:\n  - {path_regex: '*.yaml', age: age1x}\n"
    (folder / scaffold.SOPS_SETTINGS).write_text(rules)
    error = init(folder).exception
    assert isinstance(error, InvalidInput)
    assert "path_regex '*.yaml' is no regular expression" in error.message


def test_the_next_commands_work_as_typed(folder: Path, tmp_path: Path) -> None:
    key = tmp_path / "my keys.txt"
    made = done(folder, "--age-key", key)
    commands = [line.strip() for line in made.stderr.splitlines() if line.startswith("  ")]
    typed = "\n".join(line for line in commands if line.startswith(("export ", "cd ")))
    ran = subprocess.run(
        ["sh", "-ec", f'{typed}\necho "$SOPS_AGE_KEY_FILE"; pwd'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == [str(key), str(folder)]


def test_the_directory_option_counts(tmp_path: Path) -> None:
    done("-C", tmp_path, "mail")
    assert (tmp_path / "mail" / scaffold.SETTINGS).is_file()


def test_nothing_is_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        scaffold.write_new(tmp_path / "new" / "file", b"text")
    assert list((tmp_path / "new").iterdir()) == []


def test_what_it_makes_validates_without_a_word(folder: Path, home: Path) -> None:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    gateways = program("gateways")
    assert gateways
    run = [gateways, "-C", str(folder)]
    subprocess.run([*run, "init"], env=environment, check=True, capture_output=True)
    done = subprocess.run(
        [*run, "validate"], env=environment, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "warning" not in done.stdout.replace("0 warnings", "")
