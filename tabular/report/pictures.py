"""The pictures of a run, and of the other one where it has the same: from the files of metrics/."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from tabular.core.metrics import METRICS, metric
from tabular.report import charts, vega
from tabular.report.formats import shares
from tabular.report.vega import Rows, Spec
from tabular.runs.comparison import Comparison, points
from tabular.runs.run import Run


class Picture(NamedTuple):
    """A picture with its title; `both` where the other run is in it too."""

    title: str
    spec: Spec
    both: bool = False
    note: str = ""


def score_interval_pictures(comparison: Comparison) -> list[Picture]:
    """For each score that decides the model's beside the baselines', with intervals.

    First the one that the gate's verdict is by.
    """
    by = (comparison.gate.get("by") or "").partition(".")[2]
    return [
        Picture(metric(key).label, charts.score_interval_chart(rows, metric(key).label))
        for key, rows in sorted(comparison.standings.items(), key=lambda of: of[0] != by)
        if rows
    ]


def score_pictures(comparison: Comparison) -> list[Picture]:
    """What the test rows' predictions look like, those that the task has."""
    made: list[Callable[[Comparison], Picture | None]] = [
        *(confusion, roc, precision_recall, calibration, classes, threshold),
        *(predicted_and_true, residuals),
        partial(residuals, name="residuals_over_time", field="time", label="Time"),
    ]
    return [picture for make in made if (picture := make(comparison))]


def training_pictures(comparison: Comparison) -> list[Picture]:
    """Learning curves, and the losses of the members."""
    found = [curve(comparison, name) for name in ("loss", "accuracy", "mean_absolute_error")]
    found += [cycles(comparison), members(comparison)]
    return [picture for picture in found if picture]


def effect_pictures(comparison: Comparison) -> list[Picture]:
    """How the answer moves with each of the first columns."""
    columns = comparison.files["effects"].get("columns", [])
    ends = [value for of in columns for key in ("low", "high", "effect") for value in of[key]]
    limits = (min(ends, default=0), max(ends, default=0))
    found = []
    for of in columns:
        unit = f"probability of {of['class']}" if "class" in of else comparison.run.target
        if of["kind"] == "datetime":
            moments = [datetime.fromtimestamp(v, UTC).isoformat() for v in of["values"]]
            of = of | {"values": moments}
        spec = charts.effect(of, limits)
        found.append(Picture(of["column"], spec, note=f"Change of the {unit}."))
    return found


def moved_picture(name: str, of: dict[str, Any]) -> Picture:
    """How the training rows and new rows lie in the bins of a column of `find_drift`."""
    sides = ("training rows", "new rows")
    rows = [
        {"bin": found, "share": count / max(sum(counts), 1), "of": side}
        for side, counts in zip(sides, (of["train"], of["new"]), strict=True)
        for found, count in zip(of["bins"], counts, strict=True)
    ]
    shown = {row["bin"] for row in rows if row["share"]}
    rows = [row for row in rows if row["bin"] in shown]
    note = f"Distance {of['distance']:.3f}; sampling noise up to {of['by_chance']:.3f}."
    return Picture(name, charts.moved(rows, sides), note=note)


def importance(comparison: Comparison) -> Picture | None:
    """How much worse the loss is without each column."""
    rows, names = _of_both(comparison, "importance")
    if not rows:
        return None
    return Picture(
        "Importance of the columns",
        charts.importance(rows, names),
        len(names) > 1,
        "Permutation importance: the increase of the loss when the column is shuffled (mean, "
        "minimum and maximum of ten repeats). Correlated columns share it.",
    )


def _of_both(comparison: Comparison, name: str) -> tuple[Rows, list[str]]:
    """The points of both runs, each with its label in `of`; none where this run has none."""
    found: Rows = []
    names: list[str] = []
    for run in filter(None, (comparison.run, comparison.base)):
        of_run = points(run, name)
        if not of_run:
            break
        names.append(run.label)
        # This run is drawn last, above the other one.
        found = [row | {"of": run.label, "n": n} for n, row in enumerate(of_run)] + found
    return found, names


def roc(comparison: Comparison) -> Picture | None:
    rows, names = _of_both(comparison, "roc")
    area = comparison.scores["test"].by_key.get("roc_auc")
    spec = charts.roc(rows, names, area.value if area else None) if rows else None
    return Picture("ROC curve", spec, len(names) > 1) if spec else None


def precision_recall(comparison: Comparison) -> Picture | None:
    rows, names = _of_both(comparison, "precision_recall")
    rows = [row for row in rows if row["recall"] > 0]  # where precision is a convention
    bars = points(comparison.run, "histogram")
    if not rows or not bars:
        return None
    of_class, others = (
        sum(bar[key] for bar in bars) for key in ("rows of the class", "other rows")
    )
    share = of_class / (of_class + others)
    return Picture(
        "Precision and recall",
        charts.precision_recall(rows, names, share),
        len(names) > 1,
        f"The dashed line is the share of the class, {share:.2g}: the precision of a guess.",
    )


def calibration(comparison: Comparison) -> Picture | None:
    rows, names = _of_both(comparison, "calibration")
    if not rows or "low" not in rows[-1]:  # a run of before it had intervals
        return None
    return Picture("Calibration", charts.calibration(rows, names), len(names) > 1)


def classes(comparison: Comparison) -> Picture | None:
    found = points(comparison.run, "histogram")
    names = _class_names(comparison.run)
    width = 1 / max(len(found), 1)
    rows = [
        {
            "low": row["probability"] - width / 2,
            "high": row["probability"] + width / 2,
            "rows": row[key],
            "of": name,
        }
        for key, name in zip(("rows of the class", "other rows"), names, strict=True)
        for row in found
    ]
    return Picture("Probabilities by class", charts.classes(rows, names)) if rows else None


def _class_names(run: Run) -> tuple[str, str]:
    """What the rows of the class, and the others, are called."""
    if run.schema.get("task") != "binary":
        return "rows of the class", "rows of other classes"
    return f"{run.target} is {run.schema.get('positive')}", "others"


def confusion(comparison: Comparison) -> Picture | None:
    rows = points(comparison.run, "confusion")
    known = bool(rows) and "rows" in rows[0]
    return Picture("Confusion", charts.confusion(rows)) if known else None


def threshold(comparison: Comparison) -> Picture | None:
    found, run = points(comparison.run, "threshold"), comparison.run
    if not found:
        return None
    chosen = run.scores.get("threshold", 0.5)
    has_costs = found[0]["cost"] is not None
    cost, price = ("cost", "cost per row") if has_costs else ("wrong", "error rate")
    names = {"recall": "recall", "precision": "precision", "f1": "F1", cost: price}
    rows = [
        {"threshold": row["threshold"], "of": name, "value": row[key]}
        for key, name in names.items()
        for row in found
    ]
    at = min(found, key=lambda row: abs(row["threshold"] - chosen))
    said = f"At {chosen:.3g} the {price} is {at[cost]:.3g}."
    spec = charts.threshold(rows, list(names.values()), chosen)
    return Picture("Threshold", spec, note=said)


def predicted_and_true(comparison: Comparison) -> Picture | None:
    rows = points(comparison.run, "values")
    if not rows:
        return None
    true = [row["true value"] for row in rows]
    ends, form = (min(true), max(true)), vega.digits(true)
    spec = charts.scatter(
        rows,
        vega.number("true value", f"True {comparison.run.target}", **form),
        vega.number("predicted value", "Predicted", **form),
        [{"x": end, "y": end} for end in ends],
    )
    return Picture("Predicted and true value", spec)


def residuals(
    comparison: Comparison,
    name: str = "values",
    field: str = "predicted value",
    label: str = "Predicted",
) -> Picture | None:
    rows = [row for row in points(comparison.run, name) if row[field] is not None]
    if not rows:
        return None
    ends = [f(row[field] for row in rows) for f in (min, max)]
    form = vega.digits(row["true value"] for row in points(comparison.run, "values"))
    if field == "time":
        form = {"axis": {"format": "d", "labelExpr": "datum.label"}}
    spec = charts.scatter(
        rows,
        vega.number(field, label, **form),
        vega.number("residual", "True minus predicted"),
        [{"x": end, "y": 0} for end in ends],
    )
    return Picture("Residuals over time" if field == "time" else "Residuals", spec)


def curve(comparison: Comparison, name: str) -> Picture | None:
    """Training and validation rows of this run, each epoch the mean of the members."""
    found = points(comparison.run, name, "curves")
    parts = {"train": "training rows", "validation": "held-out rows"}
    rows = [
        {"epoch": row["epoch"], "value": row[key], "of": label, "n": row["epoch"]}
        for key, label in parts.items()
        for row in found
        if row[key] is not None
    ]
    if not rows:
        return None
    names = [label for label in parts.values() if any(row["of"] == label for row in rows)]
    trained = comparison.files["networks"]
    of_kind = trained.get("networks", {}).get(trained.get("curves"), {})
    kept = median(of_kind["epochs"]) if of_kind.get("epochs") else None
    label = METRICS[name].label if name in METRICS else "Mean absolute error (standardised)"
    kind = f" of {trained['curves']}" if trained.get("curves") else ""
    return Picture(f"{label}{kind} by epoch", charts.curve(rows, names, label, kept))


def cycles(comparison: Comparison) -> Picture | None:
    """The out-of-fold loss after each cycle of the kinds that learn in cycles."""
    kinds = comparison.files["networks"].get("networks", {})
    rows = [
        cycle | {"of": kind, "n": cycle["steps"]}
        for kind, of in kinds.items()
        for cycle in of.get("cycles", [])
        if cycle["loss"] is not None
    ]
    if not rows:
        return None
    names = list(dict.fromkeys(row["of"] for row in rows))
    note = "Dots: what the model takes, larger ones with more weight."
    return Picture("Cycles of the training", charts.cycles(rows, names), note=note)


def members(comparison: Comparison) -> Picture | None:
    """The losses of the members of each kind, and its weight."""
    kinds = comparison.files["networks"].get("networks", {})
    weights = shares([of["weight"] for of in kinds.values()])
    rows = [
        {"kind": f"{name}, weight {weight:.2f}", "loss": loss}
        for (name, of), weight in zip(kinds.items(), weights, strict=True)
        for loss in of.get("losses", [])
    ]
    label = "Out-of-fold loss of each network"
    return Picture("Networks and their weights", charts.members(rows, label)) if rows else None
