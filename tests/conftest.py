"""Property tests draw the same examples each time, and take the time that they need: the machine may be busy. What our
services log in a test tells no variable of a traceback, as theirs do not: that takes many seconds for each error.
"""

from __future__ import annotations

import structlog
from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
