"""The headless twin: every screen and verb as a command.

Data on stdout, narration on stderr; exit 0, 1 (work failed), 2 (bad input).
"""
