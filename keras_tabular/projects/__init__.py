"""Create and upgrade projects, which each have one table and a pinned version of the library."""
