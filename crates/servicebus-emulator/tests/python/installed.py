"""Says whether this interpreter has what `requirements.txt` pins: exit status 0, or 1 and what is missing."""

import sys
from importlib import metadata
from pathlib import Path


def missing():
    for line in Path(__file__).with_name("requirements.txt").read_text().splitlines():
        if "==" not in line:
            continue
        name, version = line.split()[0].split("==")
        try:
            there = metadata.version(name)
        except metadata.PackageNotFoundError:
            there = "none"
        if there != version:
            yield f"{name} {version} (there is {there})"


if __name__ == "__main__":
    wanted = ", ".join(missing())
    print(f"needs {wanted}" if wanted else "all there")
    sys.exit(1 if wanted else 0)
