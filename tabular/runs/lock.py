"""What dvc.lock says: the parameters, inputs and outputs of the results."""

from collections.abc import Mapping
from typing import Any

LOCK = "dvc.lock"


def params_of(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of params.yaml that the results were made with."""
    params: dict[str, Any] = {}
    for stage in lock.get("stages", {}).values():
        for section in stage.get("params", {}).values():
            params |= section
    return params


def outs_of(lock: Mapping[str, Any], stage: str) -> list[dict[str, Any]]:
    """The `path`, `md5` and `size` in bytes of each output of a stage."""
    outs: list[dict[str, Any]] = lock.get("stages", {}).get(stage, {}).get("outs", [])
    return outs


def outputs(lock: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All outputs by path."""
    return {out["path"]: out for stage in lock.get("stages", {}) for out in outs_of(lock, stage)}


def inputs(lock: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the stages read and none of them wrote, by path."""
    written = outputs(lock)
    return {
        dep["path"]: dep
        for stage in lock.get("stages", {}).values()
        for dep in stage.get("deps", [])
        if not any(f"{dep['path']}/".startswith(f"{out}/") for out in written)
    }
