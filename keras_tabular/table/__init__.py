"""Tables: from the text of a cell to checked Parquet parts."""
