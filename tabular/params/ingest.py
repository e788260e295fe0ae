"""The section `ingest`."""

from tabular.typed_yaml import Count, Section


class Ingest(Section):
    """How a table is cut into Parquet parts, here and by split."""

    rows_per_part: Count = 500_000
