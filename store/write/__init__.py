"""Who may change a lab, and how: creation, submission,
and the supervisor's transactions (SQLModel, alembic).
"""

from store.write.base import QueuedJob, Requeued, Verdict
from store.write.commands import Action, Applied, Command
from store.write.create import create_or_open, upgrade
from store.write.lab import Identity
from store.write.pending import apply_pending
from store.write.probes import Begun
from store.write.submit import Submitted, submit
from store.write.writer import Tx, Writer

__all__ = [
    "Action",
    "Applied",
    "Begun",
    "Command",
    "Identity",
    "QueuedJob",
    "Requeued",
    "Submitted",
    "Tx",
    "Verdict",
    "Writer",
    "apply_pending",
    "create_or_open",
    "submit",
    "upgrade",
]
