"""Postfix in a folder: submission in three ways, delivery to Dovecot, and nothing else.

It needs root. Nothing is accepted but for example.test, and nothing is ever relayed.
"""

import grp
import os
import pwd
import time
from collections.abc import Mapping
from pathlib import Path
from string import Template

from tests.rig.faces import FACES, GOOD, NO_STARTTLS

MASTER = Path("/usr/lib/postfix/sbin/master")

_MAIN = Template("""
compatibility_level = 3.6
queue_directory = $folder/spool
data_directory = $folder/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = $folder/postfix.log
maillog_file_prefixes = $folder
myhostname = mail.example.test
mydomain = example.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
local_transport = error:no local mail
default_transport = error:5.7.1 this test server relays nothing
relay_transport = error:5.7.1 this test server relays nothing
virtual_mailbox_domains = example.test
virtual_transport = lmtp:unix:$folder/lmtp
mynetworks =
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_type = dovecot
smtpd_sasl_path = $folder/auth-postfix
smtpd_sasl_security_options = noanonymous
smtpd_tls_cert_file = $folder/$good.pem
smtpd_tls_key_file = $folder/$good.key
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
smtpd_sasl_auth_enable = yes
smtputf8_enable = yes
smtputf8_autodetect_classes = all
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
anvil_status_update_time = 600s
alias_maps =
local_recipient_maps =
message_size_limit = 26214400
default_process_limit = 100
""")

_LISTENERS = Template("""
$address:$smtp inet n - n - - smtpd -o syslog_name=postfix/smtp $options
$address:$submission inet n - n - - smtpd -o syslog_name=postfix/submission $submission_options
$address:$smtps inet n - n - - smtpd -o syslog_name=postfix/smtps
  -o smtpd_tls_wrappermode=yes -o smtpd_client_restrictions=permit_sasl_authenticated,reject
  $options
""")

_STRICT = (
    "-o smtpd_tls_security_level=encrypt -o smtpd_tls_auth_only=yes "
    "-o smtpd_client_restrictions=permit_sasl_authenticated,reject "
)

_SERVICES = """
pickup    unix  n - n 60  1 pickup
cleanup   unix  n - n -   0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n -   - trivial-rewrite
bounce    unix  - - n -   0 bounce
defer     unix  - - n -   0 bounce
trace     unix  - - n -   0 bounce
verify    unix  - - n -   1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -   - proxymap
showq     unix  n - n -   - showq
error     unix  - - n -   - error
retry     unix  - - n -   - error
discard   unix  - - n -   - discard
lmtp      unix  - - n -   - lmtp
anvil     unix  - - n -   1 anvil
scache    unix  - - n -   1 scache
tlsmgr    unix  - - n 1000? 1 tlsmgr
postlog   unix-dgram n - n - 1 postlogd
"""

_QUEUES = (
    "active bounce corrupt defer deferred flush hold incoming private saved trace".split()  # noqa: SIM905
)


def write_postfix(folder: Path, ports: Mapping[str, int]) -> list[str]:
    """Write what Postfix needs; the result is the command that runs it in the foreground."""
    settings = folder / "postfix"
    settings.mkdir()
    main, master = settings / "main.cf", settings / "master.cf"
    main.write_text(_MAIN.substitute(folder=folder, good=GOOD))
    master.write_text("".join(_listeners(folder, face, ports) for face in FACES) + _SERVICES)
    for file in (main, master):  # Postfix sleeps until these are more than a second old
        os.utime(file, (time.time() - 60, time.time() - 60))
    _make_spool(folder)
    return [str(MASTER), "-c", str(settings), "-d"]


def _listeners(folder: Path, address: str, ports: Mapping[str, int]) -> str:
    pair = f"{folder}/{address}"
    options = f"-o smtpd_tls_cert_file={pair}.pem -o smtpd_tls_key_file={pair}.key"
    if address == NO_STARTTLS:
        options = "-o smtpd_tls_security_level=none"
    strict = options if address == NO_STARTTLS else _STRICT + options
    return _LISTENERS.substitute(
        address=address, options=options, submission_options=strict, **ports
    )


def _make_spool(folder: Path) -> None:
    owner = pwd.getpwnam("postfix").pw_uid
    drop = grp.getgrnam("postdrop").gr_gid
    (folder / "data").mkdir()
    os.chown(folder / "data", owner, -1)
    spool = folder / "spool"
    spool.mkdir()
    for name in _QUEUES:
        (spool / name).mkdir(mode=0o700)
        os.chown(spool / name, owner, -1)
    for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
        (spool / name).mkdir()
        os.chown(spool / name, owner, drop)
        (spool / name).chmod(mode)
    (spool / "pid").mkdir()
