"""The section `validate`."""

from typing import Literal

from tabular.typed_yaml import Count, Section

Policy = Literal["error", "warn"]
RowPolicy = Literal["error", "drop", "warn"]


class Validate(Section):
    """What a failed check does: `error` stops, `drop` sets the rows aside, `warn` records it."""

    missing: RowPolicy = "error"
    missing_target: RowPolicy = "drop"
    range: RowPolicy = "error"
    values: RowPolicy = "error"
    unique: RowPolicy = "error"
    duplicate_rows: RowPolicy = "warn"
    constant_column: Policy = "warn"
    empty_column: Policy = "error"
    leak: Policy = "error"
    rare_class: Policy = "error"
    min_class_rows: Count = 5
