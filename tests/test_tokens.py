"""The text of a token: read back as it was made, and nothing else is one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import Secret
from reconciler.tokens import Token, origin_of

SECRET = "aB3_-" * 8 + "xyz"
TOKEN = Token("abcdefghij01", Secret(SECRET), "https://gateways.example.com:443")


@pytest.mark.parametrize("origin", [TOKEN.origin, None, "http://[::1]:8080", "https://ü.example:1"])
def test_a_token_comes_back_the_same(origin: str | None) -> None:
    token = Token(TOKEN.id, TOKEN.secret, origin)
    assert Token.parse(token.text().reveal()) == token


def test_it_shows_no_secret() -> None:
    assert repr(TOKEN) == str(TOKEN) == "Token(abcdefghij01, ***, https://gateways.example.com:443)"
    assert f"{TOKEN}" == str(TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gwt_",
        SECRET,
        TOKEN.text().reveal() + "\n",
        " " + TOKEN.text().reveal(),
        TOKEN.text().reveal().upper(),
        TOKEN.text().reveal()[:-2] + "!",
        TOKEN.text().reveal().replace("gwt_", "ghp_"),
        TOKEN.text().reveal().replace("abcdefghij01", "abcdefghij0"),
        TOKEN.text().reveal().replace("abcdefghij01", "abcdefghij0ß"),
        f"gwt_abcdefghij01.{SECRET}." + base64.urlsafe_b64encode(b"\xff\xfe").decode().strip("="),
        f"gwt_abcdefghij01.{SECRET}.A",
    ],
)
def test_anything_else_is_no_token(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"it is not a token of this program|it is damaged"
    ) as told:
        Token.parse(text)
    assert SECRET not in str(told.value)


@given(st.text(max_size=80) | st.from_regex(r"gwt_[a-z0-9]{12}\.[\w-]{43}\.[\w-]{0,9}"))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        token = Token.parse(text)
    except ValueError:
        return
    assert Token.parse(token.text().reveal()) == token


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://gateways.example.com", "https://gateways.example.com:443"),
        ("https://gateways.example.com/", "https://gateways.example.com:443"),
        ("HTTPS://Gateways.Example.COM:443/x?y#z", "https://gateways.example.com:443"),
        ("https://gateways.example.com:8443", "https://gateways.example.com:8443"),
        ("http://localhost", "http://localhost:80"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_what_an_address_is_reduced_to(url: str, origin: str) -> None:
    assert origin_of(url) == origin == origin_of(origin)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gateways.example.com",
        "//gateways.example.com",
        "ftp://gateways.example.com",
        "https://",
        "https://:443",
        "https://user@gateways.example.com",
        "https://gateways.example.com@evil.example",
        "https://gateways.example.com:0",
        "https://gateways.example.com:65536",
        "https://gateways.example.com:x",
        "https://[::1",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        origin_of(url)
