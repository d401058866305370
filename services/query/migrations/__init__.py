"""Alembic's revisions of the schema query; they only expand."""
