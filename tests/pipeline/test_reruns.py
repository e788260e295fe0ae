"""An edit of code reruns the stages whose outputs it can decide, and no other."""

from collections.abc import Iterable
from pathlib import Path

from tests.helpers import must, stages_that_ran


def comment(files: Iterable[Path]) -> int:
    """Add a comment to files; how many these are."""
    files = list(files)
    for file in files:
        with file.open("a") as text:
            text.write("# an edit\n")
    return len(files)


def outdated(folder: Path) -> list[str]:
    return stages_that_ran(must(folder, "dvc", "repro", "--dry"))


def test_an_edit_of_what_no_stage_uses_reruns_nothing(workspace: Path) -> None:
    library = workspace / "tabular"
    for folder in ("report", "search", "serving"):
        assert comment((library / folder).rglob("*.py")) > 1
    comment(library / f"prediction/{name}.py" for name in ("answers", "drift", "outputs"))
    assert comment((workspace / "commands").rglob("*.py")) > 4
    comment([library / "params/search.py", library / "params/sections.py"])
    comment([library / "mistakes.py", library / "table/inference.py"])
    assert outdated(workspace) == []
    comment([library / "params/gate.py"])
    assert outdated(workspace) == ["gate"]
    comment([library / "evaluation/scores.py"])
    assert outdated(workspace) == ["evaluate", "gate"]


def test_an_edit_of_the_network_trains_again_and_equal_bytes_end_there(workspace: Path) -> None:
    network = workspace / "tabular/model/network.py"
    comment([network])
    assert outdated(workspace)[0] == "train"
    model = (workspace / "models/model.keras").read_bytes()
    output = must(workspace, "dvc", "repro")
    assert stages_that_ran(output) == ["train"]
    assert "Stage 'calibrate' didn't change, skipping" in output
    assert (workspace / "models/model.keras").read_bytes() == model

    text = network.read_text()
    assert 'name=f"hidden-{number}"' in text
    network.write_text(text.replace('f"hidden-{number}"', 'f"layer-{number}"'))
    output = must(workspace, "dvc", "repro", "calibrate")
    assert stages_that_ran(output) == ["train", "calibrate"]
