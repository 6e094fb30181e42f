"""The same amount for octoDNS: N TXT records of 14 values, in two folders that agree.

One zone file for all is its fastest form: with a file for each record it opens N files more. Its
YAML reader is PyYAML's in Python whatever is installed; it cannot be told to take the one in C.
"""

from pathlib import Path
from typing import Final

VALUES: Final = 14

_PROVIDER: Final = """\
  {name}:
    class: octodns.provider.yaml.YamlProvider
    directory: {name}
    enforce_order: false
    supports_root_ns: false
    escaped_semicolons: true
"""
_SETTINGS: Final = """\
manager:
  max_workers: 1
providers:
{providers}zones:
  example.com.:
    sources: [source]
    targets: [target]
"""


def make(folder: Path, count: int) -> None:
    """Write the settings `octodns.yaml` and both zones into `folder`."""
    providers = ""
    for name in ("source", "target"):
        (folder / name).mkdir(parents=True)
        with (folder / name / "example.com.yaml").open("w") as file:
            file.writelines(_record(number) for number in range(count))
        providers += _PROVIDER.format(name=name)
    (folder / "octodns.yaml").write_text(_SETTINGS.format(providers=providers))


def _record(number: int) -> str:
    values = "".join(f"  - field-{index:02}=value-{number}-{index}\n" for index in range(VALUES))
    return f"gateway-{number:06}:\n  type: TXT\n  values:\n{values}"
