"""The version of labtui: what the package's build reads, and who hands over to whom."""

__version__ = "0.1.0"
