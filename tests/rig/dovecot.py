"""Dovecot in a folder: IMAP, POP3, and the users that Postfix asks for."""

import os
import pwd
from collections.abc import Mapping
from grp import getgrgid
from pathlib import Path
from string import Template

from tests.rig.faces import FACES, GOOD, NO_STARTTLS

_MAIN = Template("""
base_dir = $folder/run
state_dir = $folder/state
log_path = $folder/dovecot.log
info_log_path = $folder/dovecot-info.log
protocols = imap pop3 lmtp
listen = $addresses
default_internal_user = $internal_user
default_internal_group = $internal_group
default_login_user = $internal_user
first_valid_uid = 1
ssl = yes
ssl_cert = <$folder/$good.pem
ssl_key = <$folder/$good.key
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = no
# Failed logins are not held back, and do not hold back the next ones from the same address.
auth_failure_delay = 0
auth_username_chars =
auth_username_format = %u
auth_mechanisms = plain login
mail_location = maildir:$folder/mail/%Mu
mail_max_userip_connections = 20000
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%u $folder/users
}
userdb {
  driver = static
  args = uid=$uid gid=$gid home=$folder/home/%Mu
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  unix_listener $folder/auth-postfix {
    mode = 0666
  }
}
service lmtp {
  $lmtp_user
  unix_listener $folder/lmtp {
    mode = 0666
  }
}
service imap-login {
  chroot =
  service_count = 0
  client_limit = 20000
  inet_listener imap {
    port = $imap
  }
  inet_listener imaps {
    port = $imaps
    ssl = yes
  }
}
service pop3-login {
  chroot =
  service_count = 0
  inet_listener pop3 {
    port = $pop3
  }
  inet_listener pop3s {
    port = $pop3s
    ssl = yes
  }
}
service imap {
  process_limit = 5000
}
service stats {
  chroot =
}
namespace inbox {
  inbox = yes
  separator = /
}
protocol pop3 {
  # A second session for the same mailbox is told [IN-USE], as large providers do.
  pop3_lock_session = yes
}
""")

_FACE = Template("""
local $address {
  ssl_cert = <$folder/$address.pem
  ssl_key = <$folder/$address.key
}
""")

_PLAIN_FACE = Template("""
local $address {
  ssl = no
}
""")


def write_dovecot(folder: Path, users: Mapping[str, str], ports: Mapping[str, int]) -> list[str]:
    """Write what Dovecot needs; the result is the command that runs it in the foreground."""
    root = os.geteuid() == 0
    owner = pwd.getpwnam("mail") if root else pwd.getpwuid(os.geteuid())
    for name in ("mail", "home"):
        (folder / name).mkdir()
        os.chown(folder / name, owner.pw_uid, owner.pw_gid)
    for name in ("run", "state"):
        (folder / name).mkdir()
    lines = [f"{_escaped(user)}:{password}\n" for user, password in users.items()]
    (folder / "users").write_text("".join(lines))
    text = _MAIN.substitute(
        folder=folder,
        addresses=", ".join(FACES),
        good=GOOD,
        internal_user="dovecot" if root else owner.pw_name,
        internal_group="dovecot" if root else getgrgid(owner.pw_gid).gr_name,
        uid=owner.pw_uid,
        gid=owner.pw_gid,
        lmtp_user=f"user = {owner.pw_name}" if root else "",
        **ports,
    )
    for address in FACES:
        face = _PLAIN_FACE if address == NO_STARTTLS else _FACE
        text += face.substitute(folder=folder, address=address)
    (folder / "dovecot.conf").write_text(text)
    return ["dovecot", "-F", "-c", str(folder / "dovecot.conf")]


def _escaped(user: str) -> str:
    """Dovecot takes a backslash in a user's name for an escape, and none in a password."""
    return user.replace("\\", "\\\\")
