"""Which leaves sops encrypts: a suffix or a regular expression of the `sops:` block decides.

The expression is written by whoever edits the file, so only a small form of it is run here, one
that means the same to RE2 and to Python and cannot run away; the real sops judges the others.
"""

import re
from collections.abc import Callable, Sequence

from reconciler.declarations.sops.document import SopsDocument
from reconciler.declarations.sops.errors import Reason, SopsError

Encrypts = Callable[[Sequence[str]], bool]

_DEFAULT_SUFFIX = "_unencrypted"
_RULES = ("unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex")
_FOR_SOPS = ("encrypted_comment_regex", "unencrypted_comment_regex")
_SIMPLE = re.compile(r"(?:[A-Za-z0-9_^$|()]|\[[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*\]|\.[*+]?|\\[.-])*")
_MAX_REPEATS = 3


def encrypts(document: SopsDocument) -> Encrypts:
    """Say of a leaf's keys whether sops has it encrypted.

    Raises:
        SopsError: two rules at once, which sops refuses too; or (FOR_SOPS) a rule that only the
            real sops can judge.

    """
    given = [(name, text) for name in (*_RULES, *_FOR_SOPS) if (text := document.block_text(name))]
    if len(given) > 1:
        raise SopsError(Reason.NOT_READABLE, "the sops block has two rules on what to encrypt")
    name, text = given[0] if given else ("unencrypted_suffix", _DEFAULT_SUFFIX)
    if name in _FOR_SOPS:
        raise SopsError(Reason.FOR_SOPS, f"only the sops program can judge {name}")
    wanted = name.startswith("encrypted")
    if name.endswith("suffix"):
        return lambda keys: any(key.endswith(text) for key in keys) is wanted
    matches = _compiled(text).search
    return lambda keys: any(matches(key) is not None for key in keys) is wanted


def _compiled(text: str) -> re.Pattern[str]:
    repeats = text.count("*") + text.count("+")
    if _SIMPLE.fullmatch(text) and repeats <= _MAX_REPEATS:
        try:
            return re.compile(text.replace("$", r"\Z"), re.ASCII)
        except re.error:
            pass
    raise SopsError(Reason.FOR_SOPS, "only the sops program can judge the expression of the block")
