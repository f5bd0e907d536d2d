"""Whole training steps as machine code, one call for all members: the fast path of a CPU's core."""
