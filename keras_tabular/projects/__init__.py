"""Projects of one table each, on a pinned version of this library."""
