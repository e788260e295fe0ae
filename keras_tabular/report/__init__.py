"""Reports on a run: an HTML page, and a Markdown comment on a pull request."""
