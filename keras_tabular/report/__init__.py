"""Reports of a run: an HTML page, and Markdown for a pull request."""
