"""Strategies as pure state machines over verdicts: which N next, what under either verdict, is it over.

No clock, no I/O.

Importing this needs the standard library and pydantic alone;
the strategies ``adaptive`` and ``scan`` load numpy when used.
"""

from runners.search.replay import replay
from runners.search.speculative import speculate
from runners.search.types import Candidate, Interval, Progress
from runners.verdict import Evidence

__all__ = ["Candidate", "Evidence", "Interval", "Progress", "replay", "speculate"]
