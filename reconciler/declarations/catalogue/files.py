"""Rules of the files kind: what a file of declarations must be before its content is judged."""

from typing import Final

from reconciler.declarations.catalogue import Rule
from reconciler.model import Severity

_ERROR: Final = Severity.ERROR
_WARNING: Final = Severity.WARNING

RULES: tuple[Rule, ...] = (
    Rule(
        "ambiguous-value",
        _ERROR,
        "An unquoted value that YAML readers understand differently",
        "Readers of YAML disagree about words such as yes, no, on and off, about numbers such as"
        " 0777, 1_000, 1e3 and 12:30:45, and about dates. What is sent to a mail server must not"
        " depend on who reads the file.",
        "Put the value in quotes if it is text; write true or false, or a plain decimal number.",
    ),
    Rule(
        "alias-expansion",
        _ERROR,
        "Aliases that stand for too much",
        "A few lines of nested aliases can stand for billions of values. All aliases of a file"
        " together may stand for 10,000 values and 1 MiB of text.",
        "Write the values out, or put what gateways share under defaults.",
    ),
    Rule(
        "control-character",
        _ERROR,
        "A character that cannot be seen",
        "Control characters end lines and commands in mail protocols, and hide text from a"
        " reviewer. No field may hold one, and no file needs one.",
        "Delete the character. An editor that shows invisible characters helps to find it.",
    ),
    Rule(
        "dangling-link",
        _ERROR,
        "A symbolic link that leads nowhere",
        "A declaration that cannot be read must not count as absent: its gateways would look"
        " undeclared.",
        "Mend the link or delete it.",
    ),
    Rule(
        "duplicate-key",
        _ERROR,
        "The same key twice in one map",
        "YAML readers silently keep the last of two equal keys, so that a reviewer can read one"
        " value and a program use the other.",
        "Keep one of the two lines.",
    ),
    Rule(
        "empty-file",
        _WARNING,
        "A file without declarations",
        "An empty file is often what an interrupted edit left behind; gateways that it declared"
        " before are no longer declared.",
        "Restore the file, or delete it.",
    ),
    Rule(
        "file-name",
        _ERROR,
        "A file name with characters that cannot be printed",
        "File names appear in reports, logs and comments, where such characters can hide or forge"
        " text.",
        "Rename the file.",
    ),
    Rule(
        "file-too-large",
        _ERROR,
        "A file of more than 1 MiB",
        "A declaration takes some hundred bytes. A limit keeps a mistaken or hostile file from"
        " stopping every check.",
        "Split the file: every file of the folder is read.",
    ),
    Rule(
        "file-vanished",
        _ERROR,
        "A file that vanished while it was read",
        "The folder changed during the run, so that what was read may belong to no commit at all.",
        "Run again when nothing else writes to the folder.",
    ),
    Rule(
        "folder-too-large",
        _ERROR,
        "Declarations of more than 512 MiB",
        "All declarations are held in memory together.",
        "Split the repository, one for each owner.",
    ),
    Rule(
        "key-not-text",
        _ERROR,
        "A key that is not text",
        "Every key of a declaration is a name. Numbers, empty keys, lists, maps and aliases as keys"
        " are read differently by different programs.",
        "Put the key in quotes if it is meant as a name.",
    ),
    Rule(
        "merge-key",
        _ERROR,
        "A merge key (<<)",
        "Merge keys are no part of YAML 1.2, hide where a value comes from, and let a few lines"
        " stand for more work than a computer can do.",
        "Put what the gateways of a file share under defaults.",
    ),
    Rule(
        "missing-declarations",
        _ERROR,
        "The folder of declarations is missing",
        "Missing is not empty: it is nearly always a wrong path or a partial checkout.",
        "Check the path in gateways.yaml, the folder that you run in, and the checkout.",
    ),
    Rule(
        "no-declarations",
        _WARNING,
        "The folder of declarations is empty",
        "Taken at its word, an empty folder would mean to disconnect every gateway. A plan of it"
        " is blocked as a whole.",
        "Check the path in gateways.yaml and the checkout; end gateways one by one.",
    ),
    Rule(
        "not-a-file",
        _ERROR,
        "A folder, pipe, socket or device with the name of a declaration",
        "Only regular files are read; reading anything else could wait for ever.",
        "Rename or delete it.",
    ),
    Rule(
        "not-a-map",
        _ERROR,
        "A file that is no map at its top",
        "A file of declarations has the keys gateways and, if wanted, defaults.",
        "Begin the file with gateways: and put each gateway below it.",
    ),
    Rule(
        "not-utf8",
        _ERROR,
        "A file that is not UTF-8",
        "One encoding for every file, so that names and passwords' names mean the same everywhere.",
        "Save the file as UTF-8. A byte order mark is accepted.",
    ),
    Rule(
        "number-too-large",
        _ERROR,
        "A number of too many digits",
        "Programs cut or round such numbers in different ways.",
        "Put the value in quotes if it is text.",
    ),
    Rule(
        "outside-project",
        _ERROR,
        "A path or link that leaves the project",
        "What is declared must be what was reviewed: files outside the repository are not part of"
        " any pull request, and a link could point at another user's secrets.",
        "Move the file into the repository. Links to files inside it are fine.",
    ),
    Rule(
        "several-documents",
        _ERROR,
        "More than one YAML document in a file",
        "Many readers stop after the first document and ignore the others in silence.",
        "Put each document in a file of its own, or all gateways under one gateways key.",
    ),
    Rule(
        "tab-indentation",
        _ERROR,
        "A tab used for indentation",
        "YAML forbids it, because a tab is as wide as an editor makes it.",
        "Indent with spaces.",
    ),
    Rule(
        "too-deep",
        _ERROR,
        "Lists and maps nested more than 64 deep",
        "A declaration needs four levels. A limit keeps a hostile file from exhausting memory.",
        "Write the declaration flat, as in the documentation's examples.",
    ),
    Rule(
        "unknown-alias",
        _ERROR,
        "An alias without an anchor",
        "A value that starts with * refers to an anchor (&) further up in the file.",
        "Put the value in quotes if it is text, or add the anchor.",
    ),
    Rule(
        "unknown-tag",
        _ERROR,
        "A tag that is not supported",
        "Tags can make a reader build anything, even run programs. Only the core ones (!!str,"
        " !!int, !!float, !!bool, !!null, !!map, !!seq) are accepted.",
        "Delete the tag; put a value that starts with ! in quotes.",
    ),
    Rule(
        "unread-file",
        _WARNING,
        "A file that is not read because of its name",
        "Only names that end in .yaml or .yml, in lower case, are read.",
        "Rename the file.",
    ),
    Rule(
        "unreadable-file",
        _ERROR,
        "A file or folder that cannot be read",
        "What cannot be read is not absent: its gateways would look undeclared.",
        "Check the permissions and the disk.",
    ),
    Rule(
        "yaml-syntax",
        _ERROR,
        "Not valid YAML",
        "The file breaks a rule of YAML's syntax at this place or shortly before it.",
        "Check the indentation, and put values with special characters (: # { [ & * ! % @) in"
        " quotes.",
    ),
)


def severity(slug: str) -> Severity:
    """Raises KeyError for a slug that is not of this kind."""
    return {rule.slug: rule.severity for rule in RULES}[slug]
