"""A search tries values in its space, and says what the best of its trials is worth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
import pytest
from optuna.trial import TrialState

from keras_tabular.cli.search import check_space
from keras_tabular.config.params import Params
from keras_tabular.config.sections import Evaluate, ResolvedTrain, Search
from keras_tabular.core.errors import UserError
from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.search import study as studies
from keras_tabular.search.study import expected_gain, suggest_changes, summary
from keras_tabular.table.parquet import write_part
from keras_tabular.training.ensemble import weigh_snapshots
from keras_tabular.training.fit import fit
from keras_tabular.training.setup import set_up
from network import build
from tests.helpers import build_arrow_schema, build_schema, load_train_params, score_values

FOLDS, ROWS = 3, 60
TRAIN = load_train_params(folds=FOLDS).resolve_auto(ROWS, "binary", 8)
KEY = "networks.plain.learning_rate"
RATE = {KEY: {"low": 0.001, "high": 0.1, "log": True}}


def search_of(space: dict[str, Any]) -> Search:
    return Search.model_validate({"space": space})


def test_a_search_continues_and_gives_up_bad_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each trial has its learning rate as error."""
    y = np.tile([0.0, 1.0], ROWS // 2)

    def predict(train: ResolvedTrain, *_: Any) -> Iterator[Predictions]:
        rate = train.networks["plain"].learning_rate
        if rate > 0.05:
            raise UserError("the training diverges")
        for fold in range(1, FOLDS + 1):
            labels = y[: ROWS * fold // FOLDS]
            probability = np.abs(labels - rate)[:, None].astype(np.float32)
            yield Predictions(labels, probability, np.ones(len(labels)))

    monkeypatch.setattr(studies, "fold_predictions", predict)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(4, 2))
    params = Params(search=search_of(RATE), evaluate=Evaluate())
    for total in (3, 20, 20):
        studies.run_trials(study, total, TRAIN, params, build_schema("binary"), build, Path("none"))
        assert len(study.trials) == total
    trials = study.trials
    assert trials[0].user_attrs["changes"] == {}
    assert len({trial.user_attrs["changes"].get(KEY) for trial in trials}) == 20
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    rate = study.best_trial.user_attrs["changes"][KEY]
    assert rate < TRAIN.networks["plain"].learning_rate
    assert study.best_value == pytest.approx(-np.log(1 - rate), rel=1e-5)


def test_changes_lie_in_the_space() -> None:
    """Decimals have three digits for people to read, unless these lie outside."""
    space = {
        "imputation": ["mean", "median"],
        "networks.plain.units": [[8], [16]],
        "networks.plain.epochs": {"low": 5, "high": 200},
        "networks.plain.l2": {"low": 0, "high": 1},
        KEY: {"low": "1e-4", "high": 0.012355, "log": True},
    }
    search = search_of(space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(16):
        train = TRAIN.with_values(suggest_changes(study.ask(), TRAIN, search.space))
        plain = train.networks["plain"]
        assert train.imputation in ("mean", "median")
        assert plain.units in ((8,), (16,))
        assert 5 <= plain.epochs <= 200
        assert 0 <= plain.l2 == float(f"{plain.l2:.3g}") <= 1
        assert 1e-4 <= plain.learning_rate <= 0.012355
    trial = optuna.trial.FixedTrial({KEY: 0.012354})
    assert suggest_changes(trial, TRAIN, {KEY: search.space[KEY]}) == {KEY: 0.012355}


def test_a_space_of_networks_that_are_not_trained_is_refused() -> None:
    search, train = search_of({"networks.plain.units": [[16], [8]]}), load_train_params()
    check_space(search, train.resolve_auto(2_500, "binary", 8))
    check_space(search_of({}), train.resolve_auto(2_501, "binary", 8))
    message = r"only has keys of networks\.plain, but train\.members trains networks\.realmlp here"
    with pytest.raises(UserError, match=message):
        check_space(search, train.resolve_auto(2_501, "binary", 8))


def test_a_rule_is_no_value_to_try() -> None:
    message = (
        r"space: networks\.plain\.batch_size: expected values to try, got auto\. .* auto is 32"
    )
    with pytest.raises(UserError, match=message):
        check_space(search_of({"networks.plain.batch_size": [16, "auto"]}), TRAIN)


def test_the_last_score_of_a_trial_is_that_of_train_and_evaluate(tmp_path: Path) -> None:
    """Each fold trains two networks of one architecture and one of another."""
    schema = build_schema("multiclass")
    train = load_train_params({"plain": {"epochs": 1, "units": (4,), "batch_size": 40}}, folds=2)
    members = [{"network": "plain", "count": 2}, {"network": "other"}]
    changes = {"networks.other": train.value("networks.plain"), "members": members}
    resolved = train.with_values(changes).resolve_auto(ROWS, "multiclass", 8)
    x = np.random.default_rng(0).normal(size=ROWS)
    labels = np.digitize(x, [-0.5, 0.5])
    y = np.array(schema.classes)[labels]
    write_part(tmp_path, 0, pa.table({"x": x, "y": y}, schema=build_arrow_schema(schema)))
    predictions = studies.fold_predictions(resolved, tmp_path, schema, build, 0.5)
    first, last = (score(of_folds, schema) for of_folds in predictions)
    setup = set_up(tmp_path, schema, resolved, build)
    ensemble = weigh_snapshots(setup, list(fit(setup)))
    assert first != last == score(Predictions(labels, ensemble.oof, np.ones(ROWS)), schema)


@pytest.mark.parametrize(("metric", "chance"), [("accuracy", 0.5), ("loss", 1.0)])
def test_the_best_of_many_trials_that_know_nothing_is_expected_to_know_nothing(
    metric: str, chance: float
) -> None:
    """Its own score says otherwise; what is better beyond chance stays so."""
    rng, schema, greater = np.random.default_rng(1), build_schema("binary"), metric == "accuracy"
    y = np.random.default_rng(0).integers(0, 2, 400).astype(float)
    good = np.clip(0.2 + 0.6 * y + rng.normal(0, 0.1, 400), 0.01, 0.99)
    trials = [
        Predictions(y, probability[:, None].astype(np.float32), np.ones(400))
        for probability in [*rng.uniform(size=(40, 400)), good]
    ]
    scores = [score_values(score(trial, schema))[metric] for trial in trials]
    draws = np.array([studies.bootstrap_scores(trial, schema, metric) for trial in trials])
    best = max(scores[:-1]) if greater else min(scores[:-1])
    expected = scores[0] + expected_gain(draws[:-1], 0, greater_is_better=greater)
    assert abs(expected - chance) < 0.35 * abs(best - chance)
    assert expected_gain(draws[:1], 0, greater_is_better=greater) == 0
    gain = expected_gain(draws, 0, greater_is_better=greater)
    assert gain == pytest.approx(scores[-1] - scores[0], rel=0.05)


def finished(*scores: float | None) -> optuna.Study:
    """Return trials with these scores, or given up; the first one has the present parameters."""
    study = optuna.create_study()
    for number, value in enumerate(scores):
        changes = {"networks.plain.units": [8], "networks.plain.l2": number / 10} if number else {}
        draws = [[value, value], [value + 0.02, value + 0.04]] if value is not None else []
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        attributes = {"changes": changes, "draws": draws}
        study.add_trial(optuna.create_trial(state=state, value=value, user_attrs=attributes))
    return study


def test_the_summary_ends_with_the_command_of_the_best_trial() -> None:
    trials, expectation, _, command = summary(finished(0.5, 0.4, 0.6, None), "loss").splitlines()
    assert trials.endswith("4 trials, 1 of them given up: the best is 0.400000, of trial 1.")
    assert expectation.endswith("expect loss 0.400000, compared with 0.500000 now.")
    changes = "-S 'train.networks.plain.units=[8]' -S train.networks.plain.l2=0.1"
    assert command == f"dvc exp run {changes}"
    assert "None is better than what params.yaml has" in summary(finished(0.3, 0.4), "loss")
    with pytest.raises(UserError, match="No trial has a loss"):
        summary(finished(None, None), "loss")
