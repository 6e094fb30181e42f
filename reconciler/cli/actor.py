"""Who is acting, for the audit trail."""

import getpass
import os
import platform
import uuid

from reconciler.model import Actor, Commit

# the names that CI systems give to whoever started a job
_CI_NAMES = ("GATEWAYS_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID")


def current_actor(commit: Commit | None = None) -> Actor:
    """A person or a job, and a fresh id for this run."""
    name = next((os.environ[key] for key in _CI_NAMES if os.environ.get(key)), None)
    return Actor(
        name or f"{_user()}@{platform.node() or 'localhost'}",
        _revision(commit),
        uuid.uuid4().hex,
    )


def _revision(commit: Commit | None) -> str | None:
    """The commit, marked where the files differ from it: it alone would not explain the change."""
    if commit is None or commit.commit is None:
        return None
    return f"{commit.commit}-dirty" if commit.dirty else commit.commit


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # a container's user often has no name
