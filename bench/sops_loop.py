"""Runs sops once for each secrets file of a project: `python -m bench.sops_loop SOPS FOLDER`."""

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    for file in sorted(Path(sys.argv[2], "gateways.d/secrets").glob("*.sops.yaml")):
        command = [sys.argv[1], "decrypt", str(file)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
