"""From a file to its complete gateways: defaults merged, variables filled in, judged by the schema.

Nearly every file is plain and valid: no defaults, no variables, nothing wrong. It is judged by one
call for the whole file, and its gateways are taken as they are, without a copy.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from reconciler import schemas
from reconciler.declarations.certificates import CertificateFiles
from reconciler.declarations.declared import Declared
from reconciler.declarations.load import Document
from reconciler.declarations.messages import Path, SchemaFault, in_words
from reconciler.declarations.variables import (
    Renderer,
    TemplateFault,
    holds_template,
    may_hold_template,
)
from reconciler.declarations.yaml_faults import dotted
from reconciler.declarations.yaml_gaps import Gaps
from reconciler.model import CERTIFICATE_FIELD, Certificate, EncryptionMode, Problem, Severity

SCHEMA: Final = "gateways"

_EMPTY: Final[frozenset[str]] = frozenset()
_NONE: Final = EncryptionMode.NONE.value

# Where "" says the same as null; elsewhere it is a wrong value like any other.
_EMPTY_TEXT: Final = frozenset(
    {"host", "user_id", "default_email_address", "default_user_name", CERTIFICATE_FIELD}
)

_DECIDING: Final = ("protocol_type", "authentication_flag", "encryption_mode")
"""What other keys are needed follows from these."""

_NO_TEXT: Final = frozenset({"port", "authentication_flag", "case_sensitivity", "protect"})


@dataclass(frozen=True, slots=True)
class Gateways:
    """Gateways by what became of them, and the problems of their schema.

    Of a broken gateway only the fields that are valid by themselves are kept: it still takes its
    name, and what it names is used. A pending one holds variables, so each target completes it.
    """

    valid: tuple[Declared, ...] = ()
    broken: tuple[Declared, ...] = ()
    pending: tuple[Declared, ...] = ()
    problems: tuple[Problem, ...] = ()


class Completer:
    """Completes the files of one project. It remembers only what is equal in many gateways."""

    def __init__(self, certificates: CertificateFiles) -> None:
        self._certificates = certificates
        self._keys: dict[tuple[str, ...], frozenset[str]] = {}
        self._gaps: dict[str, Gaps] = {}
        self._told: set[tuple[str, Path]] = set()

    def document(self, document: Document) -> Gateways:
        """The gateways of one file; the result is the same for every target."""
        templates = may_hold_template(document.text) and holds_template(document.data)
        if document.gaps:
            self._gaps[document.file] = document.gaps
        elif not templates and _complete_file_gate()(document.data):
            gateways = document.data["gateways"]
            if not any(type(fields.get("port")) is float for fields in gateways.values()):
                return Gateways(valid=self._taken_as_they_are(document, gateways))
        return self._one_by_one(document, templates=templates)

    def render(
        self, pending: Iterable[Declared], renderer: Renderer, *, suffix: str = ""
    ) -> Gateways:
        """Complete what has variables for one target; `suffix` names it in messages."""
        sorter = _Sorter()
        for declared in pending:
            fields, faults = _rendered(declared.fields, renderer)
            if faults:
                sorter.broken.append(_without(declared, {fault.path[0] for fault in faults}))
                sorter.problems += [_problem(declared, fault) for fault in faults]
            else:
                self._complete(declared, fields, sorter, suffix)
        return sorter.sorted()

    def _taken_as_they_are(
        self, document: Document, gateways: Mapping[str, Mapping[str, Any]]
    ) -> tuple[Declared, ...]:
        return tuple(
            [
                Declared(
                    name,
                    fields,
                    document,
                    self._key_set(fields),
                    _EMPTY,
                    self._certificate(document.file, fields),
                )
                for name, fields in gateways.items()
            ]
        )

    def _one_by_one(self, document: Document, *, templates: bool) -> Gateways:
        data = document.data
        sorter = _Sorter()
        misnamed: set[Any] = set()
        if not schemas.gate(SCHEMA)(data) or _holds_float(data):
            faults = in_words(schemas.errors(SCHEMA, "file", data))
            if gaps := document.gaps:
                faults = [fault for fault in faults if not _in_gap(fault, fault.path, gaps)]
            sorter.problems += [_file_problem(document, fault) for fault in faults]
            if templates:  # what no variable can mend is told once, not again for every target
                self._told |= {(document.file, fault.path) for fault in faults}
            misnamed = {fault.path[1] for fault in faults if _is_of_name(fault)}
        defaults = _mapping(data.get("defaults"))
        inherited = self._key_set(defaults)
        for name, block in _mapping(data.get("gateways")).items():
            own = _mapping(block)
            fields = {**defaults, **own}
            declared = Declared(name, fields, document, self._key_set(own), inherited)
            if not isinstance(block, Mapping | None):
                sorter.broken.append(_without(declared, fields))
            elif templates and holds_template(fields):
                sorter.pending.append(declared)
            else:
                self._complete(declared, fields, sorter)
        return sorter.sorted(misnamed)

    def _complete(
        self, declared: Declared, fields: Mapping[str, Any], sorter: "_Sorter", suffix: str = ""
    ) -> None:
        empty = {key for key, value in fields.items() if _is_unset(key, value)}
        if empty:
            fields = {key: value for key, value in fields.items() if key not in empty}
        gaps = self._gaps.get(declared.source.file) if self._gaps else None
        broken = gaps is not None and gaps.in_gateway(declared.name, declared.own)
        fits = schemas.gate(SCHEMA, "gateway")(fields) and type(fields.get("port")) is not float
        if fits and not broken:
            certificate = self._certificate(declared.source.file, fields)
            sorter.valid.append(
                Declared(
                    declared.name,
                    fields,
                    declared.source,
                    declared.own,
                    declared.inherited,
                    certificate,
                )
            )
            return
        faults = in_words(schemas.errors(SCHEMA, "gateway", fields), empty)
        sorter.broken.append(_without(declared, {*empty, *(fault.path[:1] for fault in faults)}))
        if gaps and broken:
            faults = [fault for fault in faults if not _follows(declared, fault, gaps)]
        elif not faults:
            faults = [_UNEXPLAINED]
        file = declared.source.file
        sorter.problems += [
            _problem(declared, fault, suffix)
            for fault in faults
            if (file, _origin(declared, fault.path)) not in self._told
        ]

    def _certificate(self, file: str, fields: Mapping[str, Any]) -> Certificate | None:
        """The trust anchor; a gateway without encryption has none, whatever it names."""
        path = fields.get(CERTIFICATE_FIELD)
        if not path or fields.get("encryption_mode") == _NONE:
            return None
        return self._certificates.read(file, path).certificate

    def _key_set(self, fields: Mapping[str, Any]) -> frozenset[str]:
        """The keys as a set; gateways with the same keys share it."""
        keys = tuple(fields)
        known = self._keys.get(keys)
        if known is None:
            known = self._keys[keys] = frozenset(keys)
        return known


class _Sorter:
    """Collects the gateways of one file, or of one target."""

    def __init__(self) -> None:
        self.valid: list[Declared] = []
        self.broken: list[Declared] = []
        self.pending: list[Declared] = []
        self.problems: list[Problem] = []

    def sorted(self, misnamed: Collection[Any] = ()) -> Gateways:
        """What was collected; a gateway whose name cannot be one is broken, whatever it holds."""
        wrong = [one for one in (*self.valid, *self.pending) if one.name in misnamed]
        return Gateways(
            tuple([one for one in self.valid if one.name not in misnamed]),
            (*self.broken, *wrong),
            tuple([one for one in self.pending if one.name not in misnamed]),
            tuple(self.problems),
        )


# what only a defect could bring about: the two libraries disagree
_UNEXPLAINED: Final = SchemaFault((), "bad-value", "this gateway does not fit the schema")


@cache
def _complete_file_gate() -> schemas.Gate:
    """A file whose gateways need nothing more: no defaults, no variables, no nulls."""
    schema = schemas.load(SCHEMA)
    gateways = {
        "type": "object",
        "propertyNames": {"$ref": "#/$defs/name"},
        "additionalProperties": {"$ref": "#/$defs/gateway"},
    }
    return schemas.compile_gate(
        {
            "$schema": schema["$schema"],
            "$defs": schema["$defs"],
            "type": "object",
            "required": ["gateways"],
            "properties": {"gateways": gateways},
            "additionalProperties": False,
        }
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_unset(key: str, value: Any) -> bool:
    return value is None or (value == "" and key in _EMPTY_TEXT)


def _holds_float(data: Any) -> bool:
    """465.0 is a whole number to JSON, and so to the gate, but not to people."""
    blocks = (data.get("defaults"), *_mapping(data.get("gateways")).values())
    return any(type(_mapping(block).get("port")) is float for block in blocks)


def _is_of_name(fault: SchemaFault) -> bool:
    return fault.at_key and len(fault.path) == _NAME_DEPTH and fault.path[0] == "gateways"


_NAME_DEPTH: Final = 2


def _in_gap(fault: SchemaFault, path: Path, gaps: Gaps) -> bool:
    return not fault.at_key and gaps.explain(path, missing=fault.is_lack)


def _follows(declared: Declared, fault: SchemaFault, gaps: Gaps) -> bool:
    """Whether a gateway's fault may be gone once its file can be read."""
    if _in_gap(fault, _origin(declared, fault.path), gaps):
        return True
    if fault.is_lack and gaps.lack_keys(("defaults",)):
        return True
    return fault.depends and any(gaps.explain(_origin(declared, (key,))) for key in _DECIDING)


def _file_problem(document: Document, fault: SchemaFault) -> Problem:
    place = document.place(fault.path, key=fault.at_key)
    return Problem(place, dotted(fault.path), fault.rule, Severity.ERROR, fault.message, fault.hint)


def _problem(declared: Declared, fault: SchemaFault, suffix: str = "") -> Problem:
    """A gateway's fault where its value came from: its own line, or that of the defaults."""
    path = _origin(declared, fault.path)
    place = declared.source.place(path, key=fault.at_key)
    rendered = suffix if holds_template(declared.fields.get(str(fault.path[0]))) else ""
    message = fault.message + rendered
    return Problem(place, dotted(path), fault.rule, Severity.ERROR, message, fault.hint)


def _origin(declared: Declared, path: Path) -> Path:
    if path and path[0] not in declared.own and path[0] in declared.inherited:
        return ("defaults", *path)
    return ("gateways", declared.name, *path)


def _without(declared: Declared, keys: Collection[Any]) -> Declared:
    """A broken gateway with the fields that are nobody's mistake."""
    left = {key: value for key, value in declared.fields.items() if key not in keys}
    return Declared(declared.name, left, declared.source, declared.own, declared.inherited)


def _rendered(
    fields: Mapping[str, Any], renderer: Renderer
) -> tuple[dict[str, Any], list[SchemaFault]]:
    """The fields with their variables filled in. A number or a flag cannot be one: it stays."""
    faults: list[SchemaFault] = []
    return {
        key: value if key in _NO_TEXT else _fill(value, (key,), renderer, faults)
        for key, value in fields.items()
    }, faults


def _fill(value: Any, path: Path, renderer: Renderer, faults: list[SchemaFault]) -> Any:
    if isinstance(value, Mapping):
        return {key: _fill(inner, (*path, key), renderer, faults) for key, inner in value.items()}
    if not isinstance(value, str) or not holds_template(value):
        return value
    try:
        return renderer.render(value)
    except TemplateFault as fault:
        faults.append(SchemaFault(path, fault.rule, fault.message, fault.hint))
        return value
