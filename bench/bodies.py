"""Writes what an apply sends to create a project's gateways: `python -m bench.bodies FOLDER FILE`.

The file is JSON: each gateway's name, and the body of its request.
"""

import json
import sys
from pathlib import Path

from reconciler.clock import now
from reconciler.declarations.project import load_project
from reconciler.model import Actor
from reconciler.pipeline import state
from reconciler.wire import actor_data, desired_data


def bodies(folder: Path) -> dict[str, str]:
    """The bodies of all creates, by the names of their gateways."""
    project = load_project(folder)
    target = project.targets[project.default_target]
    stated = state(project, target, now(), key_needed=True)
    beside = {"owner": target.owner, "reconnect": True, "actor": actor_data(Actor("bench"))}
    return {
        one.gateway.name: json.dumps({**desired_data(one), **beside}, separators=(",", ":"))
        for one in stated.desired.gateways
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(bodies(Path(sys.argv[1]).resolve())))
