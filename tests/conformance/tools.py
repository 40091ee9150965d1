"""Where programs are that `make conformance` installs: on the path, or in target/tools."""

import shutil
import sys
from pathlib import Path

from report import Skip

TOOLS = Path(__file__).resolve().parents[2] / "target/tools"


def find(name, *places):
    """The program's path; without it the suite is skipped."""
    beside = Path(sys.executable).parent / name
    for place in (beside, *(TOOLS / place for place in places)):
        if place.exists():
            return str(place)
    if found := shutil.which(name):
        return found
    raise Skip(f"{name} is not installed")
