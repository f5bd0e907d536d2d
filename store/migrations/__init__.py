"""Alembic's scripts; run by ``store.migrate``, never from a command line."""
