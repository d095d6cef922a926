"""The Kubernetes job: valid by Kubernetes' own schema, and it says what abdobox understands."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from inference.cli.parser import parser
from inference.many.shard import shard_of_array

ROOT = Path(__file__).resolve().parents[2]
VALIDATOR = Draft202012Validator(
    json.loads((Path(__file__).parent / "kubernetes_job_1.30.schema.json").read_text())
)


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "k8s-job.yaml").read_text())


def container(job: dict[str, Any]) -> dict[str, Any]:
    (only,) = job["spec"]["template"]["spec"]["containers"]
    return only


def test_the_job_is_valid(job: dict[str, Any]):
    assert [error.message for error in VALIDATOR.iter_errors(job)] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda job: job["spec"].update(completion=8),
        lambda job: job["spec"].update(completions="8"),
        lambda job: job["spec"].pop("template"),
        lambda job: container(job).pop("name"),
        lambda job: container(job)["env"][0].update(value=8),
        lambda job: job.update(kind="Jobs"),
    ],
)
def test_the_schema_finds_mistakes(job: dict[str, Any], spoil: Callable[[dict[str, Any]], Any]):
    spoiled = copy.deepcopy(job)
    spoil(spoiled)
    assert list(VALIDATOR.iter_errors(spoiled))


def test_what_kubernetes_demands_beyond_its_schema(job: dict[str, Any]):
    """Rules of its documentation: failure policies need Never; limits per index need Indexed."""
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert pod["restartPolicy"] == "Never"
    assert spec["parallelism"] <= spec["completions"]
    assert spec["maxFailedIndexes"] <= spec["completions"]
    rules = [
        rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    ]
    assert [rule["containerName"] for rule in rules] == [container(job)["name"]]
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container(job)["volumeMounts"]} == volumes


def test_each_pod_finds_its_share(job: dict[str, Any]):
    fixed = {entry["name"]: entry["value"] for entry in container(job)["env"] if "value" in entry}
    count = job["spec"]["completions"]
    shares = [shard_of_array({**fixed, "JOB_COMPLETION_INDEX": str(i)}) for i in range(count)]
    assert [(share.index, share.count) for share in shares] == [
        (i + 1, count) for i in range(count)
    ]


def test_the_arguments_are_ours(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    monkeypatch.setenv("ABDOBOX_SHARDS", "8")
    assert container(job)["command"] == ["python", "-m", "inference"]
    words = [word.replace("$(JOB_COMPLETION_INDEX)", "0") for word in container(job)["args"]]
    arguments = parser().parse_args(words)
    mounts = {mount["mountPath"] for mount in container(job)["volumeMounts"]}
    assert {str(arguments.input), str(arguments.output)} == mounts
    assert str(arguments.shard) == "1/8"
    assert arguments.skip_existing
