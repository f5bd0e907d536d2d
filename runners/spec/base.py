"""What every spec model shares: frozen, no unknown keys, no silent coercion, no NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Base of all spec models; a value is immutable and compares by content."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    LATER: ClassVar[tuple[str, ...]] = ()
    """Fields that came after science version 3: hashed only where they differ from their default, so that
    every older job keeps its hash.
    """

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other fields; what was worked out of the old ones (a hash, the cells) is not taken
        along.
        """
        copied = super().model_copy(update=update, deep=deep)
        for name in set(copied.__dict__) - set(type(self).model_fields):
            del copied.__dict__[name]
        return copied

    def without_later(self, data: dict[str, Any]) -> dict[str, Any]:
        """``data``, which is this spec's dump, without the later fields that stand at their default; nested
        specs too.
        """
        kept = dict(data)
        for name in self.LATER:
            if getattr(self, name) == type(self).model_fields[name].default:
                del kept[name]
        for name in kept:
            value = getattr(self, name)
            if isinstance(value, Spec):
                kept[name] = value.without_later(kept[name])
        return kept
