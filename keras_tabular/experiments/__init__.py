"""Runs in revisions of a repository: read, compare, judge and repeat; pages are in `report`."""
