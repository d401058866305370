"""Alembic's revisions of the schema affairs; they only expand."""
