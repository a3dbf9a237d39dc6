"""Datasette screens for the flight recorder of llm-gateway.

It has no hooks yet: the recorder's tables and views are browsed with Datasette's own pages.
"""

__version__ = "0.1.0"
