"""The plan as a page, for the docs: a project as a reviewer would find it, planned by the program.

What the platform has is written by `bench.fill`: its hosts are names of examples, which no machine
has.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
MERGED: Final = """\
defaults:
  host: mail.example.com
  user_id: support@example.com
  user_password: {secret: support_mailbox}
  certificate_file: certs/isrg-root-x1.pem
gateways:
  support-out:
    protocol_type: SMTP
    default_email_address: support@example.com
    default_user_name: Example Support
  support-in:
    protocol_type: IMAP
  billing-in:
    protocol_type: POP3
    user_id: billing@example.com
    user_password: {secret: billing_mailbox}
  returns-in:
    protocol_type: IMAP
    user_id: returns@example.com
    user_password: {secret: billing_mailbox}
"""
VIP: Final = """\
  vip-in:
    protocol_type: IMAP
    host: imap.partner.example
    protect: true
"""
SIGNATURE: Final = {
    f"GIT_{who}_{what}": "jane@example.com"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def plan_page(folder: Path) -> Path:
    """A pull request that rotates a password, makes a gateway, renames and removes others."""
    project = folder / "mail"
    programs = Path(sys.executable).parent
    environment = {
        **SIGNATURE,
        "HOME": str(folder),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SOPS_DISABLE_VERSION_CHECK": "1",
    }

    def run(*words: str, given: str = "", where: Path = project, code: int = 0) -> str:
        done = subprocess.run(
            words,
            cwd=where,
            env=environment,
            input=given,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode != code:
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def keep(message: str) -> None:
        run("git", "add", ".")
        run("git", "commit", "--quiet", "--message", message)

    def password(name: str, value: str) -> None:
        secrets = "gateways.d/secrets/main.sops.yaml"
        run("sops", "set", "--value-stdin", secrets, f'["{name}"]', given=f'"{value}"')

    init = ("gateways", "init", str(project), "--host", "mail.example.com", "--password-stdin")
    run(*init, given="correct horse", where=folder)
    declared = project / "gateways.d/support.yaml"
    declared.write_text(MERGED)
    password("billing_mailbox", "battery staple")
    run("git", "init", "--quiet", "--initial-branch", "main")
    keep("Four gateways")
    run(sys.executable, "-m", "bench.fill", str(project))
    password("billing_mailbox", "staple battery")
    before, _, _ = MERGED.replace("Example Support", "Example Care").partition("  returns-in:")
    declared.write_text(before + VIP)
    keep("VIP, and a new password for billing")
    page = folder / "plan.html"
    page.write_text(run("gateways", "plan", "--policy-from", "HEAD~1", "--format", "html", code=4))
    return page


if __name__ == "__main__":
    print(plan_page(Path(sys.argv[1])))
