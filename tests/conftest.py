"""Hypothesis profiles: `HYPOTHESIS_PROFILE=thorough` runs ten times as many cases."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "derandomize": True}
settings.register_profile("default", max_examples=400, **_COMMON)
settings.register_profile("thorough", max_examples=4000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
