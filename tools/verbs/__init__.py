"""What is done to an environment, a file for each verb: what it needs, what it changes, how it resumes.

Each works through a `Port` (`tools/port.py`), so that the same file serves environments made here and production, or
through `Recovering` alone where it must never serve production.
"""
