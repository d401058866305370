"""The areas of a site, a folder each: `area.py` says what it adds, `pages.py` has its routes. See `portal/area.py`."""
