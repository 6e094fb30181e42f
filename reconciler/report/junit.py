"""Problems as JUnit XML, which every CI system can show: a test case for each file with problems.

A file fails by its errors. Warnings are written to its output, since a warning fails nothing.
"""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from reconciler.model import Problem, Severity
from reconciler.report.problems import Judgement, problem_text
from reconciler.report.safe import line

_ALL = "every declaration"


def judgement_junit(judgement: Judgement) -> str:
    """A whole document; a run without problems has one case, which passes."""
    files = sorted({problem.place.file for problem in judgement.problems}) or [_ALL]
    errors = {one.place.file for one in judgement.problems if one.severity is Severity.ERROR}
    counts = {
        "tests": str(len(files)),
        "failures": str(len(errors)),
        "errors": "0",
        "time": "0",
    }
    suites = ET.Element("testsuites", {"name": "gateways", **counts})
    about = {"name": "gateways validate", "skipped": "0", **counts}
    suite = ET.SubElement(suites, "testsuite", about)
    for file in files:
        case = ET.SubElement(
            suite, "testcase", {"name": line(file), "classname": "gateways.validate", "time": "0"}
        )
        _fill(case, [one for one in judgement.problems if one.place.file == file])
    ET.indent(suites)
    # nothing reads it back here, and `line` has left no character that XML cannot hold
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _fill(case: ET.Element, problems: Sequence[Problem]) -> None:
    errors = [one for one in problems if one.severity is Severity.ERROR]
    warnings = [one for one in problems if one.severity is Severity.WARNING]
    if errors:
        said = f"{len(errors)} {'error' if len(errors) == 1 else 'errors'}"
        failure = ET.SubElement(case, "failure", {"message": said, "type": line(errors[0].rule)})
        failure.text = "\n".join(map(problem_text, errors))
    if warnings:
        ET.SubElement(case, "system-out").text = "\n".join(map(problem_text, warnings))
