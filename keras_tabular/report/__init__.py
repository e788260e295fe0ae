"""The page about a run and its pictures; all numbers come from `runs` and `gate`."""
