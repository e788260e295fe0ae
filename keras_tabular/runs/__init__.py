"""The results of revisions: read, compare and repeat; a rerun of a commit.

What is good enough is decided in `gate`; pages are in `report`.
"""
