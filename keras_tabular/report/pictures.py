"""Pictures of the scores and predictions of a run and its base, from `metrics/`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple

from keras_tabular.core.files import md5_hash
from keras_tabular.evaluation.records import MODEL
from keras_tabular.model.drift import ColumnDrift
from keras_tabular.report.vega import (
    BAR_HEIGHT,
    LINE,
    OTHER,
    PLAIN_AXIS,
    SOFT,
    THIS,
    Rows,
    Spec,
    chart,
    colors,
    dashed_line,
    distinct,
    layer,
    named_chart,
    nominal,
    quantitative,
    series,
    vertical_line,
)
from keras_tabular.runs.comparison import Comparison
from keras_tabular.tasks.task import Task

THIS_MODEL = "this model"  # next to the names of baselines
MAX_CLASSES_WITH_NUMBERS = 8  # in the cells of a confusion matrix
MAX_LETTERS_IN_ROW = 38  # of the class names above and beside a confusion matrix
SHARE = {"domain": [0, 1]}
NOT_FROM_ZERO = {"zero": False}
HIGH = {"field": "high"}
DIAGONAL = [
    {"x": 0, "y": 0},
    {"x": 1, "y": 1},
]


class Picture(NamedTuple):
    """A chart with its title and a note below the title."""

    title: str
    spec: Spec
    note: str = ""


def score_interval_pictures(comparison: Comparison, task: Task) -> Iterator[Picture]:
    """Draw the main metrics of the model and of the baselines with their 95% intervals.

    The scores are those on the test rows and, if there are folds, in cross-validation.
    Scores without an interval are left out.
    """
    evaluation = comparison.evaluation
    row_sets = {"test": "test rows", "cross_validation": "cross-validation"}
    for key in evaluation.main_metrics[:2]:
        rows = []
        for row_set, label in row_sets.items():
            for model in (MODEL, *evaluation.baselines(row_set)):
                score = evaluation.score(row_set, key, model)
                if score and score.interval:
                    rows.append(
                        score_row(task, model, label, score.value, score.interval),
                    )
        rows.sort(key=lambda row: row["name"] != THIS_MODEL)
        if rows:
            metric = evaluation.metric(key)
            title = metric.label
            axis = title if metric.greater_is_better else f"{title} (lower is better)"
            yield Picture(title, draw_score_intervals(rows, axis))


def score_row(
    task: Task,
    model: str,
    series: str,
    value: float,
    interval: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Return a row for `draw_score_intervals`; its interval may have no width."""
    low, high = interval or (value, value)
    return {
        "name": task.baselines.get(model, THIS_MODEL),
        "series": series,
        "value": value,
        "low": low,
        "high": high,
    }


def draw_score_intervals(rows: Rows, title: str) -> Spec:
    """Draw the score of each `name` in each `series` with its interval."""
    names = distinct(rows, "name")
    labels = distinct(rows, "series")
    is_first_name = f"datum.name === {json.dumps(names[0])}"
    axis = PLAIN_AXIS | {"labelFontSize": 13}
    position = {
        "y": nominal("name", names, axis=axis),
        "yOffset": nominal("series", labels),
        "color": {
            "condition": {"test": is_first_name, "value": THIS},
            "value": SOFT,
        },
    }
    legend = {
        "symbolFillColor": SOFT,
        "symbolStrokeColor": SOFT,
        "columns": len(labels),
    }
    interval = {
        "x": quantitative("low", title, scale=NOT_FROM_ZERO),
        "x2": HIGH,
    }
    point = {
        "x": quantitative("value", scale=NOT_FROM_ZERO),
        "shape": series(labels, ["circle", "diamond"], legend),
    }
    layers = [
        layer("rule", interval | position, strokeWidth=2),
        layer(
            "point",
            point | position,
            size=70,
            filled=True,
            opacity=1,
        ),
    ]
    name_height = 18 * len(labels) + 8
    return chart(rows, layers, height=len(names) * name_height)


def repeat_pictures(comparison: Comparison, task: Task) -> Iterator[Picture]:
    """Draw the main metrics of the model and of the baselines on all repeats."""
    repeats = comparison.files["repeats"]
    scores = comparison.run.read(comparison.run.metrics / "scores.json")
    is_stale = md5_hash(scores.encode()) != repeats.get("run")
    stale_note = (
        "These are repeats of a run with other parameters, rows or code. Run `make"
        " repeat`."
    )
    for measure in repeats.get("measures", []):
        rows = []
        models = measure["models"]
        for model in sorted(models, key=lambda name: name != MODEL):
            results = models[model]
            for value in results["values"]:
                rows.append(score_row(task, model, "repeats", value))
            rows.append(score_row(task, model, "this run", results["present"]))
        yield Picture(
            f"How much is luck: {measure['label']}",
            draw_score_intervals(rows, measure["label"]),
            stale_note if is_stale else measure["conclusion"],
        )


def prediction_pictures(comparison: Comparison) -> list[Picture]:
    """Draw the predictions for the test rows, from each file of plot data with rows."""
    draw = {
        "confusion": draw_confusion,
        "roc": draw_roc,
        "calibration": draw_calibration,
        "threshold": draw_threshold,
        "values": draw_values,
    }
    return [draw[name](comparison) for name in draw if comparison.run.read_points(name)]


def draw_confusion(comparison: Comparison) -> Picture:
    """Draw the number of rows with each true and predicted class.

    The colour is the share of the rows of the true class. Many classes have no numbers
    in their cells.
    """
    rows = comparison.run.read_points("confusion")
    names = distinct(rows, "true class")
    has_numbers = len(names) <= MAX_CLASSES_WITH_NUMBERS
    n_columns = max(len(names), 3) + 1  # the names of the true classes are beside them
    longest_name = max(map(len, names))
    is_wide = n_columns * longest_name > MAX_LETTERS_IN_ROW
    axis = PLAIN_AXIS | {"labelLimit": 190, "labelOverlap": not has_numbers}
    top = {"orient": "top", "labelAngle": -90 if is_wide else 0}
    position = {
        "x": nominal(
            "predicted class",
            names,
            title="Predicted class",
            axis=axis | top,
        ),
        "y": nominal("true class", names, title="True class", axis=axis),
    }
    shades = {"domain": [0, 1], "range": ["#0072b20d", "#0072b2cc"]}
    share = quantitative("share", scale=shades, legend=None)
    cells = position | {"color": share}
    layers = [layer("rect", cells, stroke=LINE, strokeWidth=1)]
    if has_numbers:
        for row in rows:
            row["label"] = [f"{row['rows']:,.0f}", f"{row['share']:.0%}"]
        numbers = position | {"text": {"field": "label"}}
        text = layer("text", numbers, dy=-7, fontSize=11)
        layers.append(text)
    height = min(max(len(names) * 52, 150), 420)
    return Picture("Confusion matrix", chart(rows, layers, height))


def draw_roc(comparison: Comparison) -> Picture:
    """Draw the ROC curve, and that of a random guess."""
    rows, labels = points_of_runs(comparison, "roc")
    x = quantitative("false positive rate", "False positive rate", scale=SHARE)
    y = quantitative("true positive rate", "True positive rate (recall)", scale=SHARE)
    guess = dashed_line(DIAGONAL)
    return Picture("ROC curve", draw_lines(rows, x, y, labels, guess))


def draw_calibration(comparison: Comparison) -> Picture:
    """Draw the share of a class by its predicted probability, with 95% intervals."""
    rows, labels = points_of_runs(comparison, "calibration")
    run_rows = [row for row in rows if row["series"] == labels[0]]
    x = quantitative("probability", "Predicted probability", scale=SHARE)
    line = {
        "x": x,
        "y": quantitative("actual", "Share of the rows in the class", scale=SHARE),
        "color": colors(labels),
    }
    interval = {"x": x, "y": quantitative("low"), "y2": HIGH}
    layers = [
        layer("line", line, point={"filled": True, "size": 45}),
        layer("rule", interval, run_rows, strokeWidth=1.5, color=THIS),
        dashed_line(DIAGONAL),
    ]
    return Picture("Calibration", chart(rows, layers))


def draw_threshold(comparison: Comparison) -> Picture:
    """Draw the scores that depend on the threshold, and the threshold of the model."""
    scores = comparison.run.read_points("threshold")
    threshold = comparison.evaluation.threshold or 0.0  # None only without this plot
    labels = {"recall": "recall", "precision": "precision", "f1": "F1"}
    cost = "wrong" if scores[0]["cost"] is None else "cost"
    labels[cost] = "error rate" if cost == "wrong" else "cost per row"
    rows = []
    for key, label in labels.items():
        for point in scores:
            row = point | {"value": point[key], "series": label}
            rows.append(row)
    names = list(labels.values())
    line_colors = [THIS, OTHER, SOFT, "currentColor"]
    dashes = [
        [1, 0],
        [6, 3],
        [2, 2],
        [8, 3, 2, 3],
    ]
    encoding = {
        "x": quantitative("threshold", "Threshold", scale=SHARE),
        "y": quantitative("value", scale={"domainMin": 0}),
        "color": colors(names, line_colors),
        "strokeDash": series(names, dashes, {"symbolSize": 500}),
    }
    layers = [
        layer("line", encoding, clip=True),
        vertical_line(threshold, strokeWidth=1.5),
    ]
    nearest = min(
        scores,
        key=lambda point: abs(point["threshold"] - threshold),
    )
    note = (
        f"At the threshold {threshold:.3g}, the {labels[cost]} is {nearest[cost]:.3g}."
    )
    return Picture("Threshold", chart(rows, layers), note)


def draw_values(comparison: Comparison) -> Picture:
    """Draw a point for each row of a regression, and the line of exact predictions."""
    rows = comparison.run.read_points("values")
    encoding = {
        "x": quantitative(
            "true value",
            f"True {comparison.run.target}",
            scale=NOT_FROM_ZERO,
        ),
        "y": quantitative("predicted value", "Predicted", scale=NOT_FROM_ZERO),
    }
    points = layer(
        "point",
        encoding,
        filled=True,
        size=18,
        opacity=0.45,
        color=THIS,
    )
    values = [row["true value"] for row in rows]
    ends = (min(values), max(values))
    diagonal = [{"x": value, "y": value} for value in ends]
    layers = [points, dashed_line(diagonal)]
    return Picture("Predicted and true values", chart(rows, layers))


def learning_curve(comparison: Comparison) -> Picture | None:
    """Draw the mean loss of the members by epoch, and the epoch that is kept."""
    points = comparison.run.read_points("loss", "curves")
    rows = []
    for key, label in (("train", "training rows"), ("validation", "held-out rows")):
        for point in points:
            if point[key] is not None:
                rows.append(
                    {
                        "n": point["epoch"],
                        "value": point[key],
                        "series": label,
                    },
                )
    if not rows:
        return None
    networks = comparison.files["networks"]
    architecture = networks["curves"]
    best_epoch = median(networks["networks"][architecture]["epochs"])
    x = quantitative("n", f"Epoch (weights kept from {best_epoch:.4g})")
    y = quantitative("value", "Loss", scale=NOT_FROM_ZERO)
    best_line = vertical_line(best_epoch, strokeDash=[4, 4])
    spec = draw_lines(rows, x, y, distinct(rows, "series"), best_line)
    return Picture(f"Loss of {architecture} by epoch", spec)


def draw_lines(
    rows: Rows,
    x: Spec,
    y: Spec,
    names: Sequence[str],
    above: Spec,
) -> Spec:
    """Draw a line for each name below another layer; the second line is thinner.

    Args:
        rows: Points of the lines; each is on the line `series` at the position `n`.
    """
    encoding = {
        "x": x,
        "y": y,
        "color": colors(names),
        "strokeWidth": series(names, [2.5, 1.5]),
        "order": quantitative("n"),
    }
    lines = layer("line", encoding, clip=True)
    return chart(rows, [lines, above])


def points_of_runs(
    comparison: Comparison,
    name: str,
) -> tuple[Rows, list[str]]:
    """Read a file of plot data of both runs.

    Returns:
        The points, each with the label of its run in `series`, and the labels of the
        runs that have the file. Both are empty if this run does not have it.
    """
    rows: Rows = []
    labels = []
    for run in filter(None, (comparison.run, comparison.base)):
        points = run.read_points(name)
        if not points:
            break
        labels.append(run.label)
        run_rows = [
            {**point, "series": run.label, "n": n} for n, point in enumerate(points)
        ]
        # The points of this run come last, so that they are drawn above the others.
        rows = run_rows + rows
    return rows, labels


def importance_picture(comparison: Comparison) -> Picture | None:
    """Draw the permutation importance of the columns, the most important one first."""
    rows, labels = points_of_runs(comparison, "importance")
    if not rows:
        return None
    run_rows = [row for row in rows if row["series"] == labels[0]]
    columns = distinct(run_rows, "column")
    base_rows = [
        row for row in rows if row["series"] != labels[0] and row["column"] in columns
    ]
    mean = {
        "x": quantitative("rise", "Increase of the loss"),
        "color": colors(labels),
    }
    range_ends = {"x": quantitative("low"), "x2": HIGH}
    layers = [
        layer("bar", mean, run_rows, opacity=0.6, height=BAR_HEIGHT),
        layer("rule", range_ends, run_rows, strokeWidth=2, color=THIS),
        layer("tick", mean, base_rows, thickness=3, height=BAR_HEIGHT),
    ]
    return Picture(
        "Importance of the columns",
        named_chart([*run_rows, *base_rows], "column", layers),
        "Permutation importance: the mean increase of the loss when the column is"
        " shuffled ten times. The line from the minimum to the maximum shows the noise"
        " of shuffling, not how the importance varies between samples of rows."
        " Correlated columns share their importance.",
    )


def effect_pictures(comparison: Comparison) -> Iterator[Picture]:
    """Draw the effects of the most important columns on predictions, on one scale."""
    effects = comparison.files["effects"].get("columns", [])
    ends = []
    for effect in effects:
        ends += effect["low"] + effect["high"] + effect["effect"]
    limits = (min(ends, default=0), max(ends, default=0))
    for effect in effects:
        quantity = comparison.run.target
        if "class" in effect:
            quantity = f"the probability that {quantity} is {effect['class']}"
        spec = draw_effect(effect, limits)
        yield Picture(effect["column"], spec, f"Change of {quantity}.")


def draw_effect(
    effect: Mapping[str, Any],
    limits: tuple[float, float],
) -> Spec:
    """Draw an effect of effects.json, with the range of the members of the ensemble."""
    rows = [
        {"value": value, "effect": mean, "low": low, "high": high}
        for value, mean, low, high in zip(
            effect["values"],
            effect["effect"],
            effect["low"],
            effect["high"],
            strict=True,
        )
    ]
    scale = {"domain": limits, "nice": True}
    effect_axis = quantitative("effect", scale=scale)
    low_axis = quantitative("low", scale=scale)
    if effect["kind"] == "category":
        mean = {"x": effect_axis}
        interval = {"x": low_axis, "x2": HIGH}
        layers = [
            layer("bar", mean, color=THIS, opacity=0.6, height=BAR_HEIGHT),
            layer("rule", interval, color=THIS, strokeWidth=2),
        ]
        return named_chart(rows, "value", layers)
    x = quantitative("value", effect["column"])
    if effect["kind"] == "datetime":
        x["type"] = "temporal"
        for row in rows:
            time = datetime.fromtimestamp(row["value"], UTC)
            row["value"] = time.isoformat()
    else:
        x["scale"] = NOT_FROM_ZERO
    band = {"x": x, "y": low_axis, "y2": HIGH}
    line = {"x": x, "y": effect_axis}
    zero = {"y": {"datum": 0}}
    layers = [
        layer("area", band, color=THIS, opacity=0.25, clip=True),
        layer("line", line, color=THIS, clip=True),
        layer("rule", zero, strokeDash=[4, 4], color=SOFT),
    ]
    return chart(rows, layers, height=170)


def drift_picture(name: str, column: ColumnDrift) -> Picture:
    """Draw the shares of the training rows and of the new rows in bins of a column."""
    labels = ["training rows", "new rows"]
    bins = [n for n in range(len(column.bins)) if column.train[n] or column.new[n]]

    def bin_rows(counts: list[int], label: str) -> Rows:
        total = sum(counts)
        return [
            {"bin": column.bins[n], "share": counts[n] / total, "series": label}
            for n in bins
        ]

    train = bin_rows(column.train, labels[0])
    new = bin_rows(column.new, labels[1])
    share = {
        "x": quantitative("share", "Share of the rows", axis={"format": "~%"}),
        "color": colors(labels, [OTHER, THIS]),
    }
    layers = [
        layer("bar", share, new, opacity=0.6, height=BAR_HEIGHT),
        layer("tick", share, train, thickness=3, height=BAR_HEIGHT),
    ]
    return Picture(name, named_chart([*train, *new], "bin", layers))
