"""Tables: from the text of a cell to checked Parquet files, columns, splits and folds.

A missing value is null. What a model reads is prepared in `network`.
"""
