"""What every stage and command uses: files, errors, processes, an ordered map, names of scores."""
