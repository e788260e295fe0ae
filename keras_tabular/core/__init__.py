"""What all stages and commands use: errors, files, parallel work, names of metrics."""
