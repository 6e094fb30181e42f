"""Problems as SARIF 2.1.0, which code-scanning pages show beside the lines."""

from typing import Any, Final
from urllib.parse import quote

from reconciler.model import Problem, Severity
from reconciler.report.problems import Judgement
from reconciler.report.safe import line, sarif_message

VERSION: Final = "2.1.0"
_ROOT: Final = "PROJECT"


def judgement_sarif(judgement: Judgement, tool_version: str) -> dict[str, Any]:
    """One run of one tool; files are relative to the project, columns count code points."""
    rules = sorted({problem.rule for problem in judgement.problems})
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/"
        "sarif-schema-2.1.0.json",
        "version": VERSION,
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "gateways",
                        "semanticVersion": tool_version,
                        "rules": [{"id": rule} for rule in rules],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {
                    _ROOT: {"description": {"text": "The folder of gateways.yaml."}}
                },
                "results": [_result(one, rules.index(one.rule)) for one in judgement.problems],
            }
        ],
    }


def _result(problem: Problem, rule: int) -> dict[str, Any]:
    text = sarif_message(problem.message + (f" ({problem.hint})" if problem.hint else ""))
    return {
        "ruleId": problem.rule,
        "ruleIndex": rule,
        "level": "error" if problem.severity is Severity.ERROR else "warning",
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(problem.place.file), "uriBaseId": _ROOT},
                    "region": {
                        "startLine": problem.place.line,
                        "startColumn": problem.place.column,
                    },
                },
                "logicalLocations": [{"fullyQualifiedName": line(problem.path)}],
            }
        ],
    }


def _uri(file: str) -> str:
    """A relative reference; a name that is not UTF-8 stands as its bytes."""
    return quote(file.encode("utf-8", "surrogateescape" if _is_name(file) else "replace"))


def _is_name(file: str) -> bool:
    """Whether a file can be called so: of what cannot be encoded, only undecoded bytes."""
    return not any("\ud800" <= char < "\udc80" or "\udcff" < char <= "\udfff" for char in file)
