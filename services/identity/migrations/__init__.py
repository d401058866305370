"""Alembic's revisions of the schema identity; they only expand."""
