"""The models, each written once for E members at a time:
transformer, LSTM, dense SSM, and those of plugins.
"""

from runners.models.contract import DropoutKeys, StackedModel, dropout_keys
from runners.models.registry import build

__all__ = ["DropoutKeys", "StackedModel", "build", "dropout_keys"]
