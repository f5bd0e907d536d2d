"""Who may change a lab, and how: creation, submission, and the supervisor's transactions (SQLModel, alembic)."""

from store.write.create import create_or_open, upgrade

__all__ = ["create_or_open", "upgrade"]
