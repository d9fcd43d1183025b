# cython: language_level=3
"""The native core of cumulo. Private: use the names in `cumulo`."""
