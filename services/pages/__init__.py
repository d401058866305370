"""The shared look of every server-rendered page: frame, parts, one stylesheet. See README.md."""
