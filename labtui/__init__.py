"""labtui: a lab bench in the terminal that finds N*, the smallest training set that works."""

__version__ = "0.1.0"
