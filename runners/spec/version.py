"""The version of the science: part of every content hash.

Raise it whenever the code would give another number for the same spec (sampling, initialisation, arithmetic, search),
so that results made by two different procedures are never taken for one another.
"""

SCIENCE_VERSION = 1
