"""A secret masks itself in every way of printing; `reveal` is the one way out."""

import copy
import io
import json
import logging
import pickle
import pprint
import string
import traceback
from dataclasses import asdict

import pytest

from reconciler.declarations.secrets import BoundSecret
from reconciler.declarations.sops.cipher import Opened
from reconciler.declarations.sops.document import Kind, Leaf
from reconciler.model import Fingerprint, Secret
from tests.declarations.sops_support import CANARY

SECRET = Secret(CANARY)
BOUND = BoundSecret(SECRET, ("mail.example.com",))
KEY = Secret("a key of fingerprints")
OPENED = Opened(Leaf(("support",), "ENC[]", Kind.PLAIN, 1, 1), CANARY, clear=False)


@pytest.mark.parametrize("one", [SECRET, BOUND, [SECRET], {"a": BOUND}, OPENED])
def test_printing_in_every_way(one: object) -> None:
    ways = [
        str(one),
        repr(one),
        ascii(one),
        f"{one}{one!s}{one!r}{one!a}",
        "%s %r" % (one, one),  # noqa: UP031
        "{0} {0!r}".format(one),  # noqa: UP032
        pprint.pformat(one),
        string.Template("$a").substitute(a=one),
    ]
    assert CANARY not in "".join(ways)


def test_format_with_a_width_masks_too() -> None:
    assert f"{SECRET:>40}{SECRET:.3}" == "******"


def test_json_and_pickle() -> None:
    with pytest.raises(TypeError) as caught:
        json.dumps({"password": SECRET})
    assert CANARY not in str(caught.value)
    assert CANARY not in json.dumps({"password": SECRET, "bound": asdict(BOUND)}, default=str)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert CANARY.encode() not in pickle.dumps([SECRET, BOUND], protocol)
    assert pickle.loads(pickle.dumps(SECRET)).reveal() == "***"  # noqa: S301
    assert CANARY not in copy.copy(SECRET).reveal()


def test_no_attributes_to_look_through() -> None:
    assert not hasattr(SECRET, "__dict__")
    with pytest.raises(TypeError):
        vars(SECRET)
    with pytest.raises(TypeError):
        hash(SECRET)
    with pytest.raises(TypeError):
        iter(SECRET)  # type: ignore[call-overload]


def test_tracebacks_with_locals() -> None:
    stream = io.StringIO()
    try:
        _fail(SECRET, BOUND)
    except ValueError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        stream.writelines(shown.format())
    assert "_fail" in stream.getvalue()
    assert "***" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def _fail(password: Secret, bound: BoundSecret) -> None:
    raise ValueError(f"cannot log in with {password} {bound}")


def test_logging() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.Logger("test")  # noqa: LOG001  # one that nothing else writes to
    logger.addHandler(handler)
    logger.warning("%s %r", SECRET, BOUND)
    assert stream.getvalue().count("***") == 2
    assert CANARY not in stream.getvalue()


def test_reveal_and_equality() -> None:
    assert SECRET.reveal() == CANARY
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_fingerprints_tell_equal_from_different_and_nothing_more() -> None:
    one = Fingerprint.of(SECRET, KEY, target="production", gateway="support")
    assert one == Fingerprint.of(Secret(CANARY), KEY, target="production", gateway="support")
    assert one == Fingerprint.parse(str(one))
    others = [
        Fingerprint.of(Secret("other"), KEY, target="production", gateway="support"),
        Fingerprint.of(SECRET, KEY, target="staging", gateway="support"),
        Fingerprint.of(SECRET, KEY, target="production", gateway="sales"),
        Fingerprint.of(SECRET, KEY, target="productions", gateway="upport"),
    ]
    assert len({one, *others}) == 5
    assert len({fingerprint.key_id for fingerprint in (one, *others)}) == 1
    rekeyed = Fingerprint.of(SECRET, Secret("another"), target="production", gateway="support")
    assert rekeyed.key_id != one.key_id
    assert CANARY not in repr([one, *others, rekeyed])
