"""The results of revisions: read, compare, repeat and search; a rerun of a commit.

What is good enough is decided in `gate`; pages are in `report`.
"""
