"""gateways serve: the gateway service, one process on one database."""

import logging
import re
from pathlib import Path
from typing import Final

import click

from reconciler.cli.common import Settings, global_options, pass_settings, wait_for
from reconciler.errors import WrongUsage

_LAST_PORT: Final = 65_535
_MOST_DAYS: Final = 36_500
_MOST_MEBIBYTES: Final = 2**30
_LARGEST_MESSAGE: Final = 2_048


@click.command("serve")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:8080",
    show_default=True,
    help="Where the API and the page are; port 0 takes a free one.",
)
@click.option(
    "--database",
    required=True,
    metavar="PATH",
    help="The database; made where there is none.",
)
@click.option("--tls-certificate", metavar="FILE", help="The certificate and its chain, in PEM.")
@click.option("--tls-key", metavar="FILE", help="The certificate's private key, in PEM.")
@click.option(
    "--private-hosts",
    type=click.Choice(["allow", "deny"]),
    default="deny",
    show_default=True,
    help="Whether gateways may be on loopback, private or link-local addresses, on any port.",
)
@click.option(
    "--allow-plain-http",
    is_flag=True,
    help="Listen for others without TLS: for behind a reverse proxy that does it.",
)
@click.option(
    "--old-key",
    metavar="FILE",
    help="Seal passwords that this key has sealed anew with the present one, then serve.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(1, _MOST_DAYS),
    default=30,
    show_default=True,
    help="How long received messages are kept.",
)
@click.option(
    "--keep-size",
    type=click.IntRange(1, _MOST_MEBIBYTES),
    metavar="MIB",
    help="How much of them is kept of each gateway at most, the oldest going first; else no limit.",
)
@click.option(
    "--max-message",
    type=click.IntRange(1, _LARGEST_MESSAGE),
    metavar="MIB",
    default=150,
    show_default=True,
    help="What is larger is listed, and left on the mail server.",
)
@global_options(("text", "json"))
@pass_settings
def command(  # noqa: PLR0913 - one for each option
    settings: Settings,
    *,
    listen: str,
    database: str,
    tls_certificate: str | None,
    tls_key: str | None,
    private_hosts: str,
    allow_plain_http: bool,
    old_key: str | None,
    keep_days: int,
    keep_size: int | None,
    max_message: int,
) -> int:
    """Run the gateway service: sessions, mail, the HTTP API and the page, on one database.

    \b
    Try it here:     gateways serve --database platform.db
    For others:      gateways serve --database /var/lib/gateways/platform.db \\
                       --listen 0.0.0.0:8443 --tls-certificate cert.pem --tls-key key.pem
    Let somebody in: gateways token new --help

    SIGTERM or Ctrl-C ends it once what is under way is finished, half a minute at most; a second
    one ends it at once. SIGHUP reads the certificate and its key again. What was accepted is on
    disk either way. Exit code 6: another service, or a command, works on the database; 10: the
    disk failed, or the database is damaged.
    """
    from reconciler.cli.logs import log_to_stderr
    from reconciler.cli.serving import Order, serve
    from reconciler.service.mail.receiving_settings import MEBIBYTE, ReceivingSettings
    from reconciler.service.process import keep_memory_private

    if bool(tls_certificate) != bool(tls_key):
        raise WrongUsage("--tls-certificate and --tls-key belong together: give both, or none")
    here = Path(settings.directory)
    if not here.is_dir():
        raise WrongUsage(f"-C {settings.directory}: there is no such folder")
    if old_key and not (here / old_key).is_file():
        raise WrongUsage(f"--old-key {old_key}: there is no such file")
    host, port = _address(listen)
    order = Order(
        host,
        port,
        here / database,
        here / tls_certificate if tls_certificate else None,
        here / tls_key if tls_key else None,
        private_hosts == "allow",
        allow_plain_http,
        here / old_key if old_key else None,
        ReceivingSettings(
            max_bytes=max_message * MEBIBYTE,
            keep_days=keep_days,
            keep_bytes=keep_size * MEBIBYTE if keep_size else None,
        ),
    )
    keep_memory_private()
    log_to_stderr(
        as_json=settings.log_format == "json", verbose=settings.verbose, quiet=settings.quiet
    )
    try:
        return wait_for(serve(order))
    finally:
        logging.shutdown()  # a thread writes the lines


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > _LAST_PORT:
        raise WrongUsage(
            f"--listen {text}: it is written as HOST:PORT", "for example: 127.0.0.1:8080, [::]:8443"
        )
    return host, int(port)
