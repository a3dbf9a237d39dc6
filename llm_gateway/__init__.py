"""Vendor coding CLIs as ordinary llm models.

Read in this order: ``request`` and ``events`` (the vocabulary), ``gateway`` (the way of a prompt),
``providers`` (one vendor CLI each), ``process`` (the child), ``store`` (the flight recorder),
``models`` and ``plugin`` (what llm sees). Nothing is imported here, so that parts start fast.
"""
