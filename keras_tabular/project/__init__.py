"""Projects with a table of their own: create and upgrade; the stages themselves are in stages/."""
