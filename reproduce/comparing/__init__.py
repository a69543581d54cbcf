"""Comparing methods: photos x methods -> figures, a table with intervals and costs, a page. See `compare.py`."""
