"""What goes out, as the standard library's own parser reads it, and byte by byte."""
# ruff: noqa: RUF001 - text in many scripts

import random
import re
import string
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import EmailMessage
from email.utils import getaddresses, unquote
from typing import Any

import pytest

from reconciler import schemas
from reconciler.errors import UnfitMessage
from reconciler.messages import Attachment, MessageKind, OutgoingMessage
from reconciler.service.mail.compose import Composed, Letterhead, compose
from reconciler.service.mail.parts import header
from reconciler.service.mail.settings import MessageLimits
from tests.service.mail.outgoing import message

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HEAD = Letterhead("support@example.com", "Example Support", "UTF-8")
CHARSETS = schemas.load("gateways")["$defs"]["encoding_mode"]["enum"]

# something that each charset is for, and nothing that it lacks
SAMPLES = {
    "UTF-8": "Grüße, 世界 😀 — “ja”",
    "GB2312": "您好——我们·收到了您的来信。",
    "GBK": "您好——囍·们，龘",
    "GB18030": "您好——囍·们，😀 ㆠ",
    "Big5": "您好，我們收到了您的來信。",
    "Shift_JIS": "お問い合わせありがとうございます。ソ表能",
    "EUC-KR": "문의해 주셔서 감사합니다. 네",
    "KOI8-R": "Здравствуйте, ёлка",
    "windows-1250": "Příliš žluťoučký kůň „“",
    "windows-1251": "Здравствуйте, Київ — №",
    "windows-1252": "Grüße — “€”",
    "windows-1253": "Γειά σας",
    "windows-1254": "İyi günler, ışık ğ",
    "windows-1255": "שלום",
    "windows-1256": "مرحبا پ",
    "windows-1257": "Labdien, ģimene ū",
    "windows-1258": "Chào đăng ơ",
    "ISO-8859-1": "Grüße, señor ÿ",
    "ISO-8859-2": "Příliš žluťoučký",
    "ISO-8859-3": "Ĉu vi ĝojas ħ",
    "ISO-8859-4": "Ģimene ū ĸ",
    "ISO-8859-5": "Здравствуйте",
    "ISO-8859-6": "مرحبا",
    "ISO-8859-7": "Γειά σας",
    "ISO-8859-8": "שלום",
    "ISO-8859-9": "İyi günler ğ",
    "ISO-8859-10": "Góðan dag ŋ",
    "ISO-8859-11": "สวัสดี",
    "ISO-8859-13": "Labdien ģ “",
    "ISO-8859-14": "Ẁŷ ḃ",
    "ISO-8859-15": "Grüße €, œuvre",
    "ISO-8859-16": "Bună ziua, ș ț €",
}
READ_AS = {"GB2312": "gb18030", "EUC-KR": "cp949", "Shift_JIS": "shift_jis"}
"""What programs that read mail take a label for, where it is not its own codec."""


def made(asked: OutgoingMessage | None = None, head: Letterhead = HEAD, **fields: Any) -> Composed:
    limits = fields.pop("limits", MessageLimits())
    wanted = replace(asked or message("ann@example.com"), **fields)
    return compose(head, wanted, limits, unique="unique", now=NOW)


def read(composed: Composed) -> EmailMessage:
    """As a modern program reads it, which must find nothing wrong."""
    parsed = message_from_bytes(composed.content, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    for part in parsed.walk():
        assert part.defects == []
        for value in part.values():
            assert value.defects == ()
    return parsed


def body_of(part: Any, charset: str) -> str:
    raw = part.get_payload(decode=True)
    assert isinstance(raw, bytes)
    return raw.decode(READ_AS.get(charset, charset)).replace("\r\n", "\n")


def plain_header(composed: Composed, name: str) -> str:
    """A header's value, unfolded but not decoded."""
    head = composed.content.partition(b"\r\n\r\n")[0].decode()
    (found,) = re.findall(rf"(?:^|\r\n){name}: ((?:(?!\r\n(?! )).)*)", head, re.DOTALL)
    return str(found)


def refused(
    asked: OutgoingMessage | None = None, head: Letterhead = HEAD, **fields: Any
) -> UnfitMessage:
    with pytest.raises(UnfitMessage) as caught:
        made(asked, head, **fields)
    return caught.value


# From


def test_an_agent_is_named_and_a_notification_is_not() -> None:
    assert read(made(kind=MessageKind.AGENT))["From"] == "Example Support <support@example.com>"
    notification = made(kind=MessageKind.NOTIFICATION)
    assert read(notification)["From"] == "support@example.com"
    assert b"Example Support" not in notification.content


def test_the_name_of_an_agent_stands_in_quotes() -> None:
    assert plain_header(made(), "From") == '"Example Support"\r\n <support@example.com>'


@pytest.mark.parametrize(
    "name", ['Doe, "J"', "back\\slash", "a@b", "two  spaces", "x" * 128, "=?utf-8?q?=41?=", "<b>"]
)
def test_a_name_cannot_be_taken_for_anything_else(name: str) -> None:
    parsed = read(made(head=replace(HEAD, name=name)))
    (address,) = parsed["From"].addresses
    assert (address.display_name, address.addr_spec) == (name, "support@example.com")


@pytest.mark.parametrize("kind", MessageKind)
def test_without_a_name_only_the_address(kind: MessageKind) -> None:
    assert plain_header(made(head=replace(HEAD, name=None), kind=kind), "From") == HEAD.address


@pytest.mark.parametrize("charset", CHARSETS)
def test_the_name_is_in_the_gateways_charset(charset: str) -> None:
    """C23 refuses a declaration; this, a name that came another way."""
    name = SAMPLES[charset]
    sent = made(head=Letterhead("a@example.com", name, charset))
    value = plain_header(sent, "From").partition("\r\n <")[0]
    assert decoded(value, charset) == name
    error = refused(
        head=Letterhead("a@example.com", "世" if charset[0] != "U" else "\ud800", "ISO-8859-1")
    )
    assert error.field == "default_user_name"


# charsets


def decoded(value: str, charset: str) -> str:
    """Encoded words, which must carry exactly this label."""
    pieces = []
    for raw, label in decode_header(value):
        assert isinstance(raw, bytes)
        assert label == charset.lower()
        pieces.append(raw.decode(READ_AS.get(charset, charset)))
    assert set(re.findall(r"=\?([^?\s]+)\?[bB]\?", value)) == {charset}
    return "".join(pieces)


def test_every_charset_has_a_sample() -> None:
    assert list(SAMPLES) == CHARSETS


@pytest.mark.parametrize("charset", CHARSETS)
def test_label_and_bytes_agree(charset: str) -> None:
    """What a recipient reads is what was written, in text, HTML and subject."""
    sample = SAMPLES[charset]
    text = f"{sample}\n.\n\n{sample}  \n"
    sent = made(
        head=replace(HEAD, name=None, charset=charset),
        subject=f"{sample} {sample} {sample}",
        text=text,
        html=f"<p>{sample}</p>",
    )
    assert sent.content.isascii()
    assert max(map(len, sent.content.split(b"\r\n"))) <= 998
    parsed = read(sent)
    plain, html = parsed.iter_parts()
    assert (plain.get_param("charset"), html.get_param("charset")) == (charset, charset)
    assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert body_of(plain, charset) == text
    assert body_of(html, charset) == f"<p>{sample}</p>"
    assert decoded(plain_header(sent, "Subject"), charset) == f"{sample} {sample} {sample}"
    assert max(map(len, plain_header(sent, "Subject").split("\r\n"))) <= 76


@pytest.mark.parametrize("charset", CHARSETS)
def test_plain_ascii_stays_readable_and_is_labelled(charset: str) -> None:
    sent = made(head=replace(HEAD, charset=charset), text="Hello,\nann.\n")
    parsed = read(sent)
    assert parsed.get_param("charset") == charset
    assert parsed["Content-Transfer-Encoding"] == "7bit"
    assert sent.content.endswith(b"\r\n\r\nHello,\r\nann.\r\n")


@pytest.mark.parametrize(
    ("charset", "text", "what"),
    [
        ("ISO-8859-1", "Hello 世界", 'character 7 ("世", U+4E16) cannot be written in ISO-8859-1'),
        ("GB2312", "€", "U+20AC"),
        ("Shift_JIS", "100¥", 'character 4 ("¥", U+00A5)'),  # its code is the backslash's too
        ("Shift_JIS", "①", "U+2460"),
        ("EUC-KR", "가뷁", 'character 2 ("뷁", U+BDC1)'),  # Python alone has a code for it
        ("Big5", "们", "U+4EEC"),
        ("windows-1252", "ł", "U+0142"),
        ("UTF-8", "a\ud800b", "character 2 (U+D800)"),
    ],
)
@pytest.mark.parametrize("field", ["text", "html", "subject"])
def test_what_cannot_be_written_is_refused_with_its_place(
    charset: str, text: str, what: str, field: str
) -> None:
    wanted: dict[str, Any] = {field: text}
    error = refused(head=replace(HEAD, charset=charset), **wanted)
    assert error.field == field
    assert what in error.why
    assert "?" not in error.message


def test_no_character_ever_becomes_another_one() -> None:
    """Every character of the first plane, in every charset: written and read back, or refused."""
    chance = random.Random(5)  # noqa: S311 - the same characters each time
    everything = [chr(code) for code in range(0xA0, 0xFFFF) if not 0xD800 <= code < 0xE000]
    for charset in CHARSETS:
        for char in chance.sample(everything, 150):
            try:
                sent = made(head=replace(HEAD, charset=charset), text=char)
            except UnfitMessage:
                continue
            assert body_of(read(sent), charset) == char, (charset, hex(ord(char)))


@pytest.mark.parametrize(
    "text",
    ["one\rtwo", "one\ntwo", "one\r\ntwo", "\r\r\n\n", "x" * 5_000, "x" * 998 + "\ny", "\t \n", ""],
)
def test_line_ends_are_made_alike_and_long_lines_are_folded(text: str) -> None:
    sent = made(text=text)
    assert sent.content.count(b"\r\n") == sent.content.count(b"\n") == sent.content.count(b"\r")
    assert max(map(len, sent.content.split(b"\r\n"))) <= 998
    assert body_of(read(sent), "UTF-8") == re.sub("\r\n|\r", "\n", text)


# header injection


@pytest.mark.parametrize(
    "evil", ["\r\n", "\n", "\r", "\0", "\x85", "\u2028", "\x1b", "\x0b", "\x7f"]
)
@pytest.mark.parametrize(
    "field",
    [
        "to",
        "cc",
        "bcc",
        "subject",
        "reply_to",
        "in_reply_to",
        "references",
        "message_id",
        "name",
        "content_type",
    ],
)
def test_no_value_makes_a_line_of_its_own(field: str, evil: str) -> None:
    """A33: refused with its field, wherever it is tried."""
    attack = f"a{evil}Bcc: thief@example.org"
    wanted: dict[str, Any]
    match field:
        case "to" | "cc" | "bcc":
            wanted = {field: (f"ann@example.com{evil}", attack)}
        case "references":
            wanted = {field: (f"<{attack}>",)}
        case "name" | "content_type":
            given = {"name": "a.txt", "content_type": "text/plain", field: attack}
            wanted = {"attachments": (Attachment(content=b"", **given),)}
        case "in_reply_to" | "message_id":
            wanted = {field: f"<{attack}>"}
        case _:
            wanted = {field: attack}
    error = refused(**wanted)
    assert error.field.split(".")[0] in {field, "attachments"}
    assert evil not in error.message


def test_random_values_are_refused_or_come_back_as_they_were() -> None:
    """A33: by the standard library's parser, which is not what wrote them."""
    chance = random.Random(33)  # noqa: S311 - the same values each time
    alphabet = string.printable + '\r\n\0<>,;:"\\@=?ß世\x85\u2028\u202e'
    passed = 0
    for _ in range(2_000):
        value = "".join(chance.choices(alphabet, k=chance.randint(1, 30)))
        field = chance.choice(["subject", "to", "reply_to", "in_reply_to", "name"])
        wanted: dict[str, Any] = {field: (value,) if field == "to" else value}
        if field == "name":
            wanted = {"attachments": (Attachment(value, "text/plain", b"x"),)}
        try:
            sent = made(**wanted)
        except UnfitMessage:
            continue
        passed += 1
        parsed = read(sent)
        assert set(parsed.keys()) <= {
            "Date",
            "From",
            "To",
            "Subject",
            "Message-ID",
            "MIME-Version",
            "Reply-To",
            "In-Reply-To",
            "References",
            "Content-Type",
            "Content-Transfer-Encoding",
        }
        if field == "subject":
            assert parsed["Subject"] == value
        if field == "name":
            (found,) = (one.get_filename() for one in parsed.iter_attachments())
            assert found in {value, unquote(value), value.strip()}  # its parser takes these off
    assert passed > 200


def test_a_header_that_would_be_two_is_a_bug_and_not_sent() -> None:
    for value in ("a\r\nb", "a\nb", "a\rb", "a\0b", "a\r\nBcc: x"):
        with pytest.raises(RuntimeError):
            header([("Subject", value)])
    assert header([("To", "a,\r\n b"), ("Cc", "")]) == b"To: a,\r\n b\r\n"


# addresses


@pytest.mark.parametrize(
    ("given", "written", "utf8"),
    [
        ("Ann.B+tag@Example.COM", "Ann.B+tag@Example.COM", False),  # as it was given
        ("o'hara@example.com", "o'hara@example.com", False),
        ("foo..bar.@docomo.example", '"foo..bar."@docomo.example', False),
        ("ann@bücher.example", "ann@xn--bcher-kva.example", False),
        ("ann@例え.テスト", "ann@xn--r8jz45g.xn--zckzah", False),
        ("ann@localhost", "ann@localhost", False),
        ("zoë@example.com", "zoë@example.com", True),
        ("用户@例え.テスト", "用户@xn--r8jz45g.xn--zckzah", True),
    ],
)
def test_addresses(given: str, written: str, utf8: bool) -> None:  # noqa: FBT001
    sent = made(to=(given,))
    assert (sent.recipients, sent.utf8) == ((written,), utf8)
    assert f"To: {written}\r\n".encode() in sent.content


@pytest.mark.parametrize(
    "given",
    [
        "", "@", "a@", "@b", "a", "a b@example.com", "a@b@c", "a@exa mple.com", "a@-b.com",
        "a@b..c", "Ann <ann@example.com>", "ann@example.com>", "<ann@example.com>", "a@b,c@d",
        "a,b@example.com", '"a b"@example.com', "a@[127.0.0.1]", "a@1.2.3.4", "a@b_c.com",
        "a@straße.de", "(x)a@b.c", "a@" + "b" * 64 + ".com", "a" * 65 + "@example.com",
        "a@" + "b." * 130 + "com", "a@\u3002", "ß" * 33 + "@example.com", "a\u200b@example.com",
        "a\u202eb@example.com",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(given: str) -> None:
    assert refused(to=("ann@example.com", given)).field == "to.1"


def test_one_recipient_is_one_however_it_is_written_and_bcc_is_unseen() -> None:
    sent = made(
        to=("ann@example.com", "ann@EXAMPLE.com"),
        cc=("bob@example.com",),
        bcc=("eve@example.com", "ann@example.com"),
    )
    assert sent.recipients == ("ann@example.com", "bob@example.com", "eve@example.com")
    parsed = read(sent)
    assert getaddresses(parsed.get_all("To", [])) == [
        ("", "ann@example.com"),
        ("", "ann@EXAMPLE.com"),
    ]
    assert parsed["Cc"] == "bob@example.com"
    assert b"eve@" not in sent.content
    assert parsed["Bcc"] is None


def test_without_anybody_to_see_the_header_says_so() -> None:
    assert (
        made(to=(), bcc=("eve@example.com",)).content.count(b"To: undisclosed-recipients:;\r\n")
        == 1
    )
    assert refused(to=()).field == "to"


def test_not_too_many_recipients() -> None:
    many = tuple(f"person-{number:03}@example.com" for number in range(101))
    assert "more than 100" in refused(to=many).why
    sent = made(to=many[:60], cc=many[60:100])
    assert len(sent.recipients) == 100
    assert len(read(sent)["To"].addresses) == 60
    assert max(map(len, sent.content.split(b"\r\n"))) <= 78


# the rest of the header


def test_the_date_and_the_id_are_ours_unless_given() -> None:
    parsed = read(made())
    assert parsed["Date"].datetime == NOW
    assert parsed["Message-ID"] == "<unique@example.com>"
    assert made().message_id == "<unique@example.com>"
    given = made(message_id="<chosen@elsewhere>")
    assert (given.message_id, read(given)["Message-ID"]) == ("<chosen@elsewhere>",) * 2


def test_a_conversation() -> None:
    parsed = read(made(in_reply_to="<3@x>", references=("<1@x>", "<2@x>")))
    assert (parsed["In-Reply-To"], parsed["References"]) == ("<3@x>", "<1@x> <2@x> <3@x>")
    parsed = read(made(in_reply_to="<2@x>", references=("<1@x>", "<2@x>")))
    assert parsed["References"] == "<1@x> <2@x>"
    long = tuple(f"<{number:0200}@example.com>" for number in range(100))
    sent = made(references=long)
    assert read(sent)["References"].split() == list(long)
    assert max(map(len, sent.content.split(b"\r\n"))) <= 998
    assert refused(references=(*long, "<1@x>")).field == "references"


@pytest.mark.parametrize(
    "given", ["no brackets", "<>", "<a b>", "<a><b>", "<ä@x>", f"<{'x' * 901}>"]
)
def test_what_is_no_message_id_is_refused(given: str) -> None:
    assert refused(message_id=given).field == "message_id"
    assert refused(references=("<1@x>", given)).field == "references.1"


def test_only_what_nobody_wrote_is_marked_as_automatic() -> None:
    """G23: so that no other program answers it by itself."""
    assert read(made(kind=MessageKind.NOTIFICATION))["Auto-Submitted"] == "auto-generated"
    assert read(made(kind=MessageKind.AGENT))["Auto-Submitted"] is None


def test_a_long_subject_is_folded_and_one_that_is_too_long_refused() -> None:
    words = "word " * 199
    sent = made(subject=words.strip())
    assert read(sent)["Subject"] == words.strip()
    assert max(map(len, plain_header(sent, "Subject").split("\r\n"))) <= 78
    assert read(made(subject="x" * 998))["Subject"] == "x" * 998
    assert refused(subject="x" * 999).field == "subject"
    assert "Subject" not in read(made(subject=""))


@pytest.mark.parametrize(
    "subject", ["=?utf-8?q?=41?=", " leading", "trailing ", "two  spaces", "tab\tless"]
)
def test_a_subject_is_read_as_it_was_written(subject: str) -> None:
    if "\t" in subject:
        assert refused(subject=subject).field == "subject"
        return
    assert read(made(subject=subject))["Subject"] == subject


# attachments


def test_attachments_come_back_byte_for_byte() -> None:
    content = bytes(range(256)) * 50
    files = (
        Attachment("übersicht 世界.pdf", "application/pdf", content),
        Attachment('quote"semi;colon.bin', "application/octet-stream", b""),
        Attachment("notes.txt", "text/plain; charset=utf-8", b"a\nb\r\n.\r\n"),
    )
    parsed = read(made(attachments=files, html="<p>x</p>"))
    assert parsed.get_content_type() == "multipart/mixed"
    alternative, *attached = parsed.iter_parts()
    assert alternative.get_content_type() == "multipart/alternative"
    for file, part in zip(files, attached, strict=True):
        assert part.get_filename() == file.name
        assert part.get_content_type() == file.content_type.partition(";")[0]
        assert part.get_payload(decode=True) == file.content
        assert part.get_content_disposition() == "attachment"


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "x" * 256, "ü" * 128, "a\ud800"])
def test_what_is_no_file_name_is_refused(name: str) -> None:
    assert refused(attachments=(Attachment(name, "text/plain", b""),)).field == "attachments.0.name"


@pytest.mark.parametrize(
    "kind", ["", "text", "text/", "multipart/mixed", "message/rfc822", "a/b; c=d", "a b/c"]
)
def test_what_is_no_content_type_is_refused(kind: str) -> None:
    error = refused(attachments=(Attachment("a", "text/plain", b""), Attachment("b", kind, b"")))
    assert error.field == "attachments.1.content_type"


def test_not_larger_than_a_message_may_be() -> None:
    limits = MessageLimits(size=10_000)
    assert len(made(limits=limits, text="x\n" * 3_000).content) < 10_000
    assert refused(limits=limits, text="x\n" * 5_000).field == "text"
    large = Attachment("a", "text/plain", b"x" * 8_000)
    assert refused(limits=limits, attachments=(large,)).field == "attachments"


def test_a_nul_in_the_text_is_refused() -> None:
    assert "character 3 is a NUL" in refused(text="ab\0c").why
