"""Tables: from the text of a cell to checked, shuffled Parquet parts."""
