"""The command line: every screen and every action as a command.

Data on stdout, narration on stderr; exit 0, 1 (work failed), 2 (bad input).
``main`` runs a command, ``commands`` is their menu with one file for each,
``context`` is what a command has at hand.
"""
