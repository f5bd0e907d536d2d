"""Who may change a lab, and how: creation, submission,
and the supervisor's transactions (SQLModel, alembic).
"""

from store.write.commands import Action, Applied, Command, apply_pending
from store.write.lab import Identity, create_or_open, upgrade
from store.write.probes import Begun
from store.write.submit import Submitted, queue_spec, submit
from store.write.tx import QueuedJob, Requeued, Tx, Verdict
from store.write.writer import Writer

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
    "queue_spec",
    "submit",
    "upgrade",
]
