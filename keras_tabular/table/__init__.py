"""Tables from the text of a cell to checked Parquet parts, in which a missing value is null.

Statistics of columns are in `column_statistics`.
"""
