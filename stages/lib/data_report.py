"""The profile of a run's table and what validation found, as HTML."""

from typing import Any

from stages.lib.markup import Html, folded, join, number, section, table, tag
from stages.lib.revisions import Run, changes

FEW = 12  # columns that are shown without a click, and differences that are named


def data_section(run: Run, other: Run | None) -> Html:
    """The profile of the table, and what validation found."""
    profile = run.profile
    if not profile:
        return section("Data", tag("p", "This run has no profile of its data."))
    rows = profile.get("rows", 0)
    facts = [tag("p", f"{rows:,} rows, {profile.get('columns', 0):,} columns.")]
    if other and other.profile:
        differing = changes(other.profile, profile)
        says = f"The same as in {other.label}."
        if differing:
            says = f"Differs from {other.label}: {'; '.join(described(differing))}."
        facts.append(tag("p", says, class_="note" if differing else "soft"))
    if profile.get("target"):
        facts.append(
            table(
                [run.target, "Rows", "Share"],
                [
                    [
                        name,
                        number(found["rows"]),
                        join(
                            f"{found['share']:.1%}",
                            tag("span", class_="bar", style=f"width: {found['share']:.1%}"),
                        ),
                    ]
                    for name, found in profile["target"].items()
                ],
                class_="text",
            )
        )
    columns = [
        [
            join(name, tag("small", found.get("kind"))),
            missing(found.get("missing", 0), rows),
            number(found.get("distinct")),
            spread(found),
            f"{found['min']:,.5g} to {found['max']:,.5g}" if "min" in found else "",
        ]
        for name, found in profile.get("column", {}).items()
    ]
    header = ["Column", "Missing", "Different values", "Mean ± deviation", "Range"]
    listed = table(header, columns)
    return section(
        "Data",
        *facts,
        folded(f"Profile of {len(columns)} columns", listed, is_open=len(columns) <= FEW),
        tag("h3", "Validation"),
        validation(run.validation),
    )


def described(differing: dict[str, tuple[Any, Any]]) -> list[str]:
    """The first few differences of two profiles in words."""
    words = [
        f"{name.removeprefix('column.').replace('.', ', ')} {value(old)} → {value(new)}"
        for name, (old, new) in differing.items()
    ]
    return words if len(words) <= FEW else [*words[:FEW], f"and {len(words) - FEW} more"]


def value(found: Any) -> str:
    """A number or word of the profile."""
    return number(found) if found is None or isinstance(found, int | float) else str(found)


def missing(count: int, rows: int) -> str:
    """How many values are missing, and their share."""
    return f"{count:,} ({count / rows:.1%})" if count and rows else "none"


def spread(found: dict[str, Any]) -> str:
    """Mean and standard deviation of a column that has them."""
    if "mean" not in found:
        return ""
    return f"{found['mean']:,.4g} ± {found.get('standard_deviation', 0):,.3g}"


def validation(report: dict[str, Any]) -> Html:
    """The checks that did not pass, and all of them on a click."""
    checks = report.get("checks", {})
    if not checks:
        return tag("p", "This run has no validation report.")
    failed = {name: check for name, check in checks.items() if check["verdict"] != "pass"}
    summary = f"{len(checks)} checks of {report.get('rows', 0):,} rows: "
    summary += f"{len(failed)} found something." if failed else "all passed."

    def listed(some: dict[str, Any]) -> Html:
        return table(
            ["Check", "Verdict", "Rows"],
            [
                [
                    check_name(name),
                    tag("span", check["verdict"], class_=check["verdict"]),
                    number(check["failed_rows"]),
                ]
                for name, check in some.items()
            ],
            class_="text",
        )

    return join(
        tag("p", summary),
        listed(failed) if failed else None,
        folded("All checks", listed(checks)),
    )


def check_name(name: str) -> str:
    """`BMI.rare_class` in words; the name of a column stays as it is."""
    column, _, check = name.rpartition(".")
    return f"{column}: {check.replace('_', ' ')}"
