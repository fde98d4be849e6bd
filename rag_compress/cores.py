"""How many processors there are for this process."""

from __future__ import annotations

import os


def cores() -> int:
    """Returns the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Returns how many threads should share the work: `OMP_NUM_THREADS`, if it is set, otherwise one for each core."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(wanted) if wanted.isdigit() and int(wanted) else cores()
