"""Encrypts a new secrets file by the rules of the project's .sops.yaml.

The real sops does it where there is one, since it knows every kind of key. Without it a rule that
names age recipients only can be followed by `writer`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from reconciler.declarations.sops import binary, shape, writer
from reconciler.declarations.sops.document import parse
from reconciler.declarations.sops.errors import SopsError
from reconciler.declarations.sops.files import Reader, find
from reconciler.declarations.sops.process import ProcessFailed, run
from reconciler.errors import InvalidInput, SecretsUnavailable
from reconciler.model import Secret

SETTINGS: Final = ".sops.yaml"
SECONDS: Final = 60.0

# What would encrypt for others than the rules of the project name.
_OVERRIDES: Final = frozenset(
    (
        *("SOPS_AGE_RECIPIENTS", "SOPS_PGP_FP", "SOPS_KMS_ARN", "SOPS_GCP_KMS_IDS"),
        *("SOPS_AZURE_KEYVAULT_URLS", "SOPS_VAULT_URIS", "SOPS_HUAWEICLOUD_KMS_IDS"),
        *("SOPS_CONFIG", "SOPS_KEYSERVICE"),
    )
)
_READERS: Final = frozenset(
    ("recipient", "fp", "arn", "resource_id", "vault_url", "vault_address", "key_id")
)
_ONLY_AGE: Final = frozenset({"path_regex", "age"})


@dataclass(frozen=True, slots=True)
class Sealer:
    """Makes secrets files of a project; `tool` says in words what encrypts them."""

    root: Path
    program: Path | None
    environ: Mapping[str, str]

    @property
    def tool(self) -> str:
        return "sops" if self.program else "this program, for age recipients"

    def seal(self, file: str, name: str, value: Secret, hosts: Sequence[str]) -> bytes:
        """The text of a new file, relative to the root, with one secret, bound to `hosts` if any.

        Raises:
            InvalidInput: there is no .sops.yaml, or its rules would leave something in clear.
            SecretsUnavailable: it cannot be encrypted; what sops said is not shown.

        """
        if not (self.root / SETTINGS).is_file():
            raise InvalidInput(
                f"there is no {SETTINGS}, which says who may read the secrets",
                "gateways init makes one, with an age key",
            )
        if self.program:
            sealed = self._by_sops(self.program, file, name, value, hosts)
        else:
            bound: writer.Value = {"value": value, "hosts": hosts} if hosts else value
            sealed = writer.encrypt({name: bound}, self._recipients(file))
        _check(sealed, file)
        return sealed

    def _by_sops(
        self, program: Path, file: str, name: str, value: Secret, hosts: Sequence[str]
    ) -> bytes:
        plain: Any = {"value": value.reveal(), "hosts": list(hosts)} if hosts else value.reveal()
        argv: list[str | Path] = [program, "--config", self.root / SETTINGS, "encrypt"]
        argv += ["--filename-override", self.root / file]
        argv += ["--input-type", "json", "--output-type", "yaml", "/dev/stdin"]
        try:
            code, output = run(
                argv, json.dumps({name: plain}).encode(), self._environ(), seconds=SECONDS
            )
        except ProcessFailed as error:
            raise SecretsUnavailable(f"sops could not encrypt {file}: {error}") from None
        if code:
            raise SecretsUnavailable(
                f"sops could not encrypt {file} by the rules of {SETTINGS} (exit code {code})",
                f"a creation rule must fit {file} and name keys that can be reached;"
                " see what sops says: echo '{}' | sops encrypt --filename-override"
                f" {file} /dev/stdin",
            )
        return output

    def _environ(self) -> dict[str, str]:
        kept = {name: text for name, text in self.environ.items() if name not in _OVERRIDES}
        return {**kept, "SOPS_DISABLE_VERSION_CHECK": "1"}

    def _recipients(self, file: str) -> tuple[str, ...]:
        """The age recipients of the first rule that fits, as sops takes the first."""
        for rule in _rules(self.root / SETTINGS):
            if not _fits(rule, file):
                continue
            named = rule.get("age") or ""
            listed = named if isinstance(named, list) else str(named).split(",")
            recipients = tuple(text for one in listed if (text := str(one).strip()))
            if recipients and rule.keys() <= _ONLY_AGE:
                return recipients
            break
        raise SecretsUnavailable(
            f"there is no sops, and the rule of {SETTINGS} for {file} is not one of age"
            " recipients alone",
            "install sops (https://getsops.io), or pip install 'gateways-reconciler[sops]'",
        )


def readers(sealed: bytes) -> frozenset[str]:
    """Whom a sops file names as its readers: public keys, fingerprints and key services."""
    try:
        block = parse(sealed).block
    except SopsError:
        return frozenset()
    return frozenset(leaf.text for leaf in block if leaf.path[-1] in _READERS and leaf.text)


def readers_of(root: Path, patterns: Sequence[str]) -> frozenset[str]:
    """Those of all secrets files of a project; what cannot be read names nobody."""
    reader, found = Reader(root), set[str]()
    for file in find(root, patterns):
        try:
            found |= readers(reader.read(file))
        except SopsError:
            continue
    return frozenset(found)


def sealer_of(root: Path, environ: Mapping[str, str]) -> Sealer:
    return Sealer(root, binary.find(environ), environ)


def _check(sealed: bytes, file: str) -> None:
    """Nothing may be in clear, whatever the rules say of suffixes and patterns."""
    try:
        _, problems = shape.entries(parse(sealed), file)
    except SopsError:
        raise SecretsUnavailable(f"what sops made of {file} is no secrets file") from None
    if problems:
        raise InvalidInput(
            f"the rules of {SETTINGS} would leave a part of {file} in clear",
            "take suffix and regex rules that do so out of it",
        )


def _rules(path: Path) -> list[Mapping[str, Any]]:
    try:
        loaded = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        raise InvalidInput(f"{SETTINGS} is not YAML") from None
    rules = loaded.get("creation_rules") if isinstance(loaded, dict) else None
    return [rule for rule in rules or () if isinstance(rule, dict)]


def _fits(rule: Mapping[str, Any], file: str) -> bool:
    try:
        return bool(re.search(str(rule.get("path_regex") or ""), file))
    except re.error:
        raise InvalidInput(f"{SETTINGS} has a path_regex that is no pattern") from None
