"""Runs migrations on the connection that ``store.migrations`` hands over, inside its transaction."""

from typing import Any, Literal

from alembic import context
from sqlmodel import AutoString

from store.schema import METADATA


def _render(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """SQLModel's string type is plain VARCHAR: a migration must not depend on the SQLModel of its day."""
    return "sa.String()" if kind == "type" and isinstance(item, AutoString) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    render_as_batch=True,
    transactional_ddl=True,
    render_item=_render,
)
context.run_migrations()
