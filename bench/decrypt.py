"""Decrypts every secret of a project as plan does: `python -m bench.decrypt FOLDER`."""

import sys
from pathlib import Path

from reconciler.declarations.secrets import SecretFiles

if __name__ == "__main__":
    files = SecretFiles.scan(Path(sys.argv[1]).resolve(), ["gateways.d/secrets/*.sops.yaml"], ())
    print(len(files.decrypt(files.names.keys())))
