"""Tasks: transition tables, formats, nested data sets without replacement, batch order.

Needs torch and numpy.
"""

from runners.tasks.ahead import BatchStream
from runners.tasks.data import DataSource, TrainingSet
from runners.tasks.formats import Batch, Vocabulary
from runners.tasks.fresh import FreshSequences
from runners.tasks.generalisation import Generalisation, generalisation_batch
from runners.tasks.order import BatchOrder
from runners.tasks.tables import TransitionTable

__all__ = [
    "Batch",
    "BatchOrder",
    "BatchStream",
    "DataSource",
    "FreshSequences",
    "Generalisation",
    "TrainingSet",
    "TransitionTable",
    "Vocabulary",
    "generalisation_batch",
]
