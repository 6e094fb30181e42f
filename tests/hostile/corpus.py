"""The corpus, as strings by name."""

from pathlib import Path
from typing import Final

import yaml

_FILE: Final = Path(__file__).parent / "corpus.yaml"


def _corpus() -> dict[str, str]:
    # libyaml takes no lone surrogates; the reader in Python does
    entries = yaml.load(_FILE.read_text(), Loader=yaml.SafeLoader)
    return {one["name"]: one["text"] * one.get("times", 1) for one in entries}


HOSTILE: Final = _corpus()
SHORT: Final = {name: text for name, text in HOSTILE.items() if len(text) <= 1000}
"""Those that are not there for their length."""
