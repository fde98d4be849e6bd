"""What every test starts with.

`HYPOTHESIS_PROFILE=thorough` runs ten times as many cases. A shell that starts the tests with `&` makes them ignore
SIGINT, and what they start inherits that: the tests that send one need it back.
"""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

signal.signal(signal.SIGINT, signal.default_int_handler)

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "derandomize": True}
settings.register_profile("default", max_examples=400, **_COMMON)
settings.register_profile("thorough", max_examples=4000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
