"""The pgmend REST service: for now, whether it lives and whether the database takes writes."""

__version__ = "0.1.0"
