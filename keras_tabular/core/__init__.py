"""What every package needs: errors, files, parallel work, and how a process ends.

Nothing here knows tables, models or scores.
"""

VERSION = "0.7.0"
