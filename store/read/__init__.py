"""What the screens and the command line read.

Standard library only: importing it costs a few milliseconds.
"""

from store.read.lab import Lab, open_lab

__all__ = ["Lab", "open_lab"]
