"""The pictures of a run, and of the other one where it has the same: from the files of metrics/."""

import json
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from keras_tabular.core.metrics import BASELINES, metric
from keras_tabular.evaluation.evaluation import NO_SCORES
from keras_tabular.experiments.comparison import Comparison, points
from keras_tabular.report.vega import (
    LINE,
    OTHER,
    SOFT,
    THIS,
    WIDTH,
    Rows,
    Spec,
    chart,
    colors,
    layer,
    named,
    number,
    series_scale,
    straight,
    vertical,
)

MODEL = "this model"  # next to the names of baselines
MAX_NAMED = 8  # classes, whose cells have numbers in them
UNIT = {"domain": [0, 1]}


class Picture(NamedTuple):
    """A picture with its title, and a note below that."""

    title: str
    spec: Spec
    note: str = ""


def score_interval_pictures(comparison: Comparison) -> list[Picture]:
    """Draw each primary metric of the model and of the baselines, with intervals.

    They are for the test rows and, where there are folds, cross-validated. Scores without an
    interval are left out.
    """
    pictures = []
    for key in comparison.evaluation.primary_metrics:
        label, rows = metric(key).label, []
        for row_set, place in (("test", "test rows"), ("cross_validation", "cross-validated")):
            scores = comparison.evaluation.score_sets.get(row_set, NO_SCORES)
            named = {BASELINES.get(name, name): each for name, each in scores.baselines.items()}
            for name, each in ({MODEL: scores.model} | named).items():
                estimate = each.get(key)
                if estimate and estimate.interval:
                    low, high = estimate.interval
                    limits = {"value": estimate.value, "low": low, "high": high}
                    rows.append({"name": name, "series": place} | limits)
        rows.sort(key=lambda row: row["name"] != MODEL)
        if rows:
            pictures.append(Picture(label, score_intervals(rows, label)))
    return pictures


def score_pictures(comparison: Comparison) -> list[Picture]:
    """Draw the predictions for the test rows, from each file of points that has rows."""
    draw_file = {
        "confusion": confusion,
        "roc": roc,
        "precision_recall": precision_recall,
        "calibration": calibration,
        "threshold": threshold,
        "values": predicted_and_true,
    }
    return [draw(comparison) for name, draw in draw_file.items() if points(comparison.run, name)]


def points_of_both(comparison: Comparison, name: str) -> tuple[Rows, list[str]]:
    """Read the points of both runs, each with its label in `series`, and these labels.

    There are none if this run has none.
    """
    rows: Rows = []
    labels: list[str] = []
    for run in filter(None, (comparison.run, comparison.base)):
        run_rows = points(run, name)
        if not run_rows:
            break
        labels.append(run.label)
        # This run is drawn last, above the other one.
        rows = [row | {"series": run.label, "n": n} for n, row in enumerate(run_rows)] + rows
    return rows, labels


def lines(
    rows: Rows, x: Spec, y: Spec, names: Sequence[str], more: Sequence[Spec] = (), **style: Any
) -> Spec:
    """Draw a line for each of the names; of two runs the second one thinner."""
    encoding = {
        "x": x,
        "y": y,
        "color": colors(names),
        "strokeWidth": series_scale(names, [2.5, 1.5]),
        "order": {"field": "n", "type": "quantitative"},
    }
    return chart(rows, [layer("line", encoding, clip=True, **style), *more])


def score_intervals(rows: Rows, label: str) -> Spec:
    """Draw scores by `name`, with the rows that they are for in `series`, and their intervals."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    places = list(dict.fromkeys(row["series"] for row in rows))
    model = {"test": f"datum.name === {json.dumps(names[0])}", "value": THIS}
    place = {
        "y": named("name", names, axis={"labelFontSize": 13}),
        "yOffset": {"field": "series", "type": "nominal", "sort": places},
        "color": {"condition": model, "value": SOFT},
    }
    grey = {"symbolFillColor": SOFT, "symbolStrokeColor": SOFT}
    shape = series_scale(places, ["circle", "diamond"], grey)
    scale = {"zero": False, "nice": True}
    low, value = (number(field, label, scale=scale) for field in ("low", "value"))
    intervals = layer("rule", {"x": low, "x2": {"field": "high"}} | place, strokeWidth=2)
    values = layer("point", {"x": value, "shape": shape} | place, size=70, filled=True, opacity=1)
    return chart(rows, [intervals, values], height=len(names) * (18 * len(places) + 8))


def roc(comparison: Comparison) -> Picture:
    """Draw the ROC curve, with the area under it."""
    rows, names = points_of_both(comparison, "roc")
    score = comparison.scores["test"].get("roc_auc")
    marks = [straight([{"x": 0, "y": 0}, {"x": 1, "y": 1}])]
    if score and score.value is not None:
        area = {"x": 0.97, "y": 0.06, "text": f"area {score.value:.3f}"}
        place = {"x": number("x"), "y": number("y"), "text": {"field": "text"}}
        marks.append(layer("text", place, [area], align="right"))
    x = number("false positive rate", "False positive rate", scale=UNIT)
    y = number("true positive rate", "True positive rate (recall)", scale=UNIT)
    return Picture("ROC curve", lines(rows, x, y, names, marks))


def precision_recall(comparison: Comparison) -> Picture:
    """Draw precision by recall, and what a guess reaches: the share of the class."""
    rows, names = points_of_both(comparison, "precision_recall")
    rows = [row for row in rows if row["recall"] > 0]  # where precision is a convention
    bins = points(comparison.run, "calibration")
    share = sum(each["actual"] * each["rows"] for each in bins) / sum(each["rows"] for each in bins)
    x, y = number("recall", "Recall", scale=UNIT), number("precision", "Precision", scale=UNIT)
    guess = straight([{"x": 0, "y": share}, {"x": 1, "y": share}])
    spec = lines(rows, x, y, names, [guess], interpolate="step-before")
    note = f"The dashed line is the share of the class, {share:.2g}: the precision of a guess."
    return Picture("Precision and recall", spec, note)


def calibration(comparison: Comparison) -> Picture:
    """Draw the share of a class by its predicted probability, with intervals."""
    rows, names = points_of_both(comparison, "calibration")
    x = number("probability", "Predicted probability", scale=UNIT)
    share = number("actual", "Share that is of the class", scale=UNIT)
    line = {"x": x, "y": share, "color": colors(names)}
    ends = {"x": dict(x), "y": number("low"), "y2": {"field": "high"}}
    of_run = [row for row in rows if row["series"] == names[0]]
    marks = [
        layer("line", line, point={"filled": True, "size": 45}),
        layer("rule", ends, of_run, strokeWidth=1.5, color=THIS),
        straight([{"x": 0, "y": 0}, {"x": 1, "y": 1}]),
    ]
    return Picture("Calibration", chart(rows, marks))


def confusion(comparison: Comparison) -> Picture:
    """Draw true classes by predicted ones: rows and their share of the true class."""
    rows = points(comparison.run, "confusion")
    names = list(dict.fromkeys(row["true class"] for row in rows))
    size = min(max(len(names), 3), 40)
    longest = max(map(len, names))
    # Beside each other they may not fit.
    turned = -90 if longest * 7 > (WIDTH - 60 - 7 * longest) / size else 0
    labels = {"labelLimit": 190, "labelOverlap": len(names) > MAX_NAMED}
    x = named("predicted class", names, axis={"orient": "top", "labelAngle": turned, **labels})
    place = {
        "x": x | {"title": "Predicted class"},
        "y": named("true class", names, axis=labels) | {"title": "True class"},
    }
    shades = {"domain": [0, 1], "range": ["#0072b20d", "#0072b2cc"]}
    share = number("share", scale=shades, legend=None)
    layers = [layer("rect", place | {"color": share}, stroke=LINE, strokeWidth=1)]
    if len(names) <= MAX_NAMED:
        for row in rows:
            row["label"] = [f"{row['rows']:,.0f}", f"{row['share']:.0%}"]
        layers.append(layer("text", place | {"text": {"field": "label"}}, dy=-7, fontSize=11))
    return Picture("Confusion", chart(rows, layers, height=min(max(len(names) * 52, 150), 420)))


def threshold(comparison: Comparison) -> Picture:
    """Draw what each threshold comes to, and the chosen one."""
    scores = points(comparison.run, "threshold")
    threshold = comparison.evaluation.threshold
    chosen = 0.5 if threshold is None else threshold
    has_costs = scores[0]["cost"] is not None
    cost, price = ("cost", "cost per row") if has_costs else ("wrong", "error rate")
    names = {"recall": "recall", "precision": "precision", "f1": "F1", cost: price}
    rows = [
        {"threshold": row["threshold"], "series": name, "value": row[key]}
        for key, name in names.items()
        for row in scores
    ]
    dashes = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
    encoding = {
        "x": number("threshold", "Threshold", scale=UNIT),
        "y": number("value", scale={"domainMin": 0}),
        "color": colors(list(names.values()), [THIS, OTHER, SOFT, "currentColor"]),
        "strokeDash": series_scale(list(names.values()), dashes, {"symbolSize": 500}),
    }
    marks = [layer("line", encoding, clip=True), vertical(chosen, strokeWidth=1.5)]
    nearest = min(scores, key=lambda row: abs(row["threshold"] - chosen))
    note = f"At {chosen:.3g} the {price} is {nearest[cost]:.3g}."
    return Picture("Threshold", chart(rows, marks), note)


def predicted_and_true(comparison: Comparison) -> Picture:
    """Draw a point for each row of a regression, and the line on which they should lie."""
    rows = points(comparison.run, "values")
    true = [row["true value"] for row in rows]
    zero = {"scale": {"zero": False}}
    x = number("true value", f"True {comparison.run.target}") | zero
    y = number("predicted value", "Predicted") | zero
    marks = layer("point", {"x": x, "y": y}, filled=True, size=18, opacity=0.45, color=THIS)
    diagonal = straight([{"x": end, "y": end} for end in (min(true), max(true))])
    return Picture("Predicted and true value", chart(rows, [marks, diagonal]))


def learning_curve(comparison: Comparison) -> Picture | None:
    """Draw the mean loss of the members by epoch, and the epoch whose weights are kept."""
    epochs_of_loss = points(comparison.run, "loss", "curves")
    parts = {"train": "training rows", "validation": "held-out rows"}
    rows = [
        {"epoch": row["epoch"], "value": row[key], "series": label, "n": row["epoch"]}
        for key, label in parts.items()
        for row in epochs_of_loss
        if row[key] is not None
    ]
    if not rows:
        return None
    trained = comparison.files["networks"]
    architecture = trained.get("curves")
    epochs = trained.get("networks", {}).get(architecture, {}).get("epochs")
    title, marks = "Epoch", []
    if epochs:
        title = f"Epoch (weights kept from {median(epochs):.4g})"
        marks = [vertical(median(epochs), strokeDash=[4, 4])]
    names = list(dict.fromkeys(row["series"] for row in rows))
    x, y = number("epoch", title), number("value", "Loss", scale={"zero": False})
    name = f"Loss{f' of {architecture}' if architecture else ''} by epoch"
    return Picture(name, lines(rows, x, y, names, marks))
