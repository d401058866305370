"""Property tests draw the same examples each time, and take the time that they need: the machine may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
