"""Mail that does harm, or is broken as real mail is, by name."""

import base64

DEEP = 10_000


def _multipart(*parts: bytes, boundary: bytes = b"b") -> bytes:
    lines = [b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts]
    head = (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="' + boundary + b'"\r\n\r\n'
    )
    return head + b"".join(lines) + b"--" + boundary + b"--\r\n"


def _nested(depth: int) -> bytes:
    head = b"From: a@x.io\r\nMIME-Version: 1.0\r\n"
    opened = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
        for level in range(depth)
    )
    return head + opened + b"Content-Type: text/plain\r\n\r\nat the bottom\r\n"


def _forwarded(depth: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: inside\r\n\r\nx\r\n"


CORPUS: dict[str, bytes] = {
    "empty": b"",
    "only a body": b"\r\nbody",
    "only NUL": b"\0" * 1_000,
    "all bytes": bytes(range(256)) * 100,
    "no blank line": b"From: a@x.io\r\nSubject: y",
    "lone CR": b"From: a@x.io\rSubject: y\r\rbody\r",
    "lone LF": b"From: a@x.io\nSubject: y\n\nbody\n",
    "10,000 deep": _nested(DEEP),
    "500 deep": _nested(500),
    "10,000 forwarded": _forwarded(DEEP),
    "10^5 headers": b"X: y\r\n" * 100_000 + b"\r\nbody",
    "10^5 parts": _multipart(*[b"\r\nx"] * 100_000),
    "boundaries of nothing": _multipart(b"\r\nx", boundary=b""),
    "a boundary without end": b"Content-Type: multipart/mixed; boundary="
    + b"x" * 100_000
    + b"\r\n\r\n",
    "no boundary": b"Content-Type: multipart/mixed\r\n\r\n--\r\nx\r\n",
    "parameters that are none": b"Content-Type: text/plain; charset*1*=x; charset=; =;\r\n\r\nx",
    "20,000 parameters": b"Content-Type: text/plain" + b"; a*0=b" * 20_000 + b"\r\n\r\nx",
    "a charset that is none": b"Content-Type: text/plain; charset=\xff\xfe\r\n\r\n\xe4",
    "a charset that packs": b"Content-Type: text/plain; charset=zlib\r\n\r\nx",
    "a charset of another language": (
        b"Content-Type: text/plain; charset*=x'y'unicode_escape\r\n\r\n\\ud800"
    ),
    "an encoding that is none": b"Content-Transfer-Encoding: x\xff\r\n\r\nx",
    "base64 that is none": b"Content-Transfer-Encoding: base64\r\n\r\n=!=!\xff",
    "uuencode": b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 666 x\r\n\xff\r\nend\r\n",
    "quoted-printable that is none": (
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=\r\n==XY=\r\n\xff="
    ),
    "a name that is none": (
        b"Content-Type: application/x; name*0*=utf-8''%FF; name*1=\xff\r\n\r\nx"
    ),
    "a name with a path": b'Content-Disposition: attachment; filename="../../etc/passwd"\r\n\r\nx',
    "addresses in addresses": b"From: " + b"<" * 5_000 + b"a@x.io" + b">" * 5_000 + b"\r\n\r\nx",
    "a date of the year 10^9": b"Date: 1 Jan 1000000000 00:00:00 +0000\r\n\r\nx",
    "a Message-ID with commands": b"Message-ID: <a\r\n a2 DELETE INBOX\r\n b@c>\r\n\r\nx",
    "a type that is none": b"Content-Type: /;;;=\r\n\r\nx",
    "a type of two lines": b"Content-Type: text/\r\n html\r\n\r\n<b>x</b>",
    "UTF-16": "From: a@x.io\r\n\r\nx".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbfFrom: a@x.io\r\n\r\nx",
    "an mbox line": b"From a@x.io Sat Jan  1 00:00:00 2000\r\nFrom: a@x.io\r\n\r\nx",
    "a multipart in base64": (
        b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.b64encode(_multipart(b"\r\nx"))
    ),
    "a forwarded message in base64": (
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA=="
    ),
    "delivery status": (
        b"Content-Type: message/delivery-status\r\n\r\n"
        b"Reporting-MTA: dns; x\r\n\r\nAction: failed\r\n"
    ),
    "partial": b"Content-Type: message/partial; number=1; total=99999999; id=x\r\n\r\nx",
}
