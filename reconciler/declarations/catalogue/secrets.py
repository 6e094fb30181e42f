"""Rules on secrets files, on where a secret may be sent, and on how a rotation is seen."""

from typing import Final

from reconciler.declarations.catalogue import Rule
from reconciler.model import Place, Problem, Severity

_E: Final = Severity.ERROR
_W: Final = Severity.WARNING

_FILES: Final = (
    Rule(
        "not-encrypted",
        _E,
        "A secrets file is not encrypted",
        "Everything in git is read by everybody who can read the repository, for ever: a password"
        " that was once pushed in clear is known.",
        "Encrypt the file with sops. If it was ever pushed, have new passwords set.",
        ids=("C03",),
    ),
    Rule(
        "plain-secret",
        _E,
        "A value in a secrets file is not encrypted",
        "Secrets files hold secrets only. What stands in clear beside them can be read by everybody"
        " and is not protected against changes; sops also leaves empty values in clear.",
        "Set the value with sops edit. Take suffix and regex rules that leave values in clear out"
        " of .sops.yaml.",
        ids=("C03",),
    ),
    Rule(
        "secrets-file-form",
        _E,
        "A secrets file has a form that is not read",
        "A secret is a value, or a map of value, hosts and anchors. Every other form is refused:"
        " sops does not protect the structure of a file, so that a value could otherwise be moved"
        " away from the hosts that it is bound to.",
        "Write NAME: PASSWORD or NAME: {value: PASSWORD, hosts: [HOST], anchors: [SHA256]}, without"
        " anchors (&), aliases (*), tags (!), and with one document in each file.",
    ),
    Rule(
        "secrets-file-unreadable",
        _E,
        "A secrets file cannot be read",
        "A file that is not read cannot be judged, and its secrets would look as if they were gone."
        " Links may not lead out of the project, and no file may be larger than 1 MiB.",
        "Mend the file's syntax, its rights or its link; split a large one.",
    ),
    Rule(
        "foreign-key-service",
        _E,
        "A secrets file names a key service that the target does not name",
        "sops sends the job's own credentials to the address that stands in the file. Whoever"
        " changes the file in a pull request could have them sent to an address of their own.",
        "If the service is yours, name its address in sops_key_services of the target; otherwise"
        " undo the change of the file. Nothing was contacted.",
    ),
    Rule(
        "duplicate-secret",
        _E,
        "Two secrets files hold a secret of the same name",
        "Which of the two is used would depend on the names of the files.",
        "Rename one, or take it away with sops.",
    ),
)

_VALUES: Final = (
    Rule(
        "secret-not-text",
        _E,
        "The secret is not text",
        "A value without quotes may be a number, a date or true to YAML: the password 007 would be"
        " sent as 7.",
        "Put the value in quotes with sops edit.",
    ),
    Rule(
        "bad-binding",
        _E,
        "The binding of a secret is not valid",
        "hosts are host names, addresses or patterns such as *.example.com; anchors are SHA-256"
        " fingerprints of certificates, 64 hexadecimal digits each.",
        "Correct it with sops edit. The fingerprint: openssl x509 -noout -fingerprint -sha256.",
    ),
    Rule(
        "reserved-secret",
        _E,
        "The fingerprint key is used as a password",
        "The key makes the fingerprints by which a rotation is seen. Sent to a mail server it"
        " would let that server's operator guess passwords from stored fingerprints.",
        "Name the mailbox's own secret.",
    ),
    Rule(
        "secret-bound-elsewhere",
        _E,
        "The secret is bound to other hosts",
        "The secret's encrypted hosts say where it may be sent. Changing the host and keeping the"
        " secret is how a pull request would have a password sent elsewhere.",
        "Correct the host. If the mail server has moved, somebody with the key adds the host to the"
        " secret with sops edit.",
    ),
    Rule(
        "secret-bound-encrypted-only",
        _E,
        "A bound secret would be sent without encryption",
        "A binding promises that the secret reaches only the named hosts; without encryption"
        " everybody on the way reads it.",
        "Use encryption_mode TLS or STARTTLS.",
    ),
    Rule(
        "secret-bound-anchors",
        _E,
        "The secret is bound to other certificates",
        "The secret may be sent only under the trust anchors that its encrypted anchors name;"
        " another certificate file would let another server stand in for the host.",
        "Use the certificate file that the secret was bound to. If the anchor was renewed, somebody"
        " with the key adds its fingerprint to the secret with sops edit.",
    ),
    Rule(
        "unbound-secret",
        _W,
        "The secret is not bound to hosts",
        "Whoever may change a declaration could have an unbound secret sent to another host."
        " Reported only where a target asks for it: errors: [unbound-secret].",
        "With sops edit, write NAME: {value: PASSWORD, hosts: [HOST]}.",
    ),
    Rule(
        "no-fingerprint-key",
        _W,
        "There is no fingerprint key",
        "With it the platform keeps a fingerprint of each password, and a plan sees whether the"
        " password itself has changed. Without it a plan compares what sops wrote: a changed"
        " password is noticed, but one that was only encrypted again is sent again too.",
        "Add the secret fingerprint_key, 32 random bytes in base64, to one of the secrets files.",
    ),
    Rule(
        "secrets-file-keys",
        _W,
        "The secrets file has other keys than before",
        "Whoever can read the file may have changed, and every ciphertext in it may have, so that"
        " nobody without a key can tell which passwords did. Reported by plan --policy-from where"
        " no key is at hand.",
        "See whether the recipients are those that they should be. sops rotate and sops updatekeys"
        " do this; so does whoever writes the whole file anew.",
    ),
    Rule(
        "secrets-file-older",
        _W,
        "The secrets file is older than before",
        "An earlier state of a secrets file is a good file: it opens, and its passwords are those"
        " of then, perhaps one that was replaced because somebody knew it. When sops last wrote"
        " the file is part of what its message authentication code covers. Reported by plan"
        " --policy-from.",
        "Bring the branch up to date. To go back to an earlier password on purpose, set it anew:"
        " sops set.",
    ),
    Rule(
        "weak-fingerprint-key",
        _W,
        "The fingerprint key is too short",
        "Whoever steals the platform's database has the fingerprints. With a key that can be"
        " guessed, short passwords can be guessed from them. Judged by plan and apply.",
        "Replace it with sops edit: 32 random bytes in base64, from openssl rand -base64 32. The"
        " next apply sends the passwords once more.",
    ),
)

RULES: Final[tuple[Rule, ...]] = (*_FILES, *_VALUES)
_SEVERITIES: Final = {rule.slug: rule.severity for rule in RULES}


def problem(slug: str, place: Place, path: str, message: str, hint: str = "") -> Problem:
    """A problem of one of these rules, with its severity. Raises KeyError for another slug."""
    return Problem(place, path, slug, _SEVERITIES[slug], message, hint)
