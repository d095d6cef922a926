"""The Kubernetes job: what Kubernetes demands of it, and it says what abdobox understands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inference.cli.parser import parser
from inference.many.shard import shard_of_array

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "k8s-job.yaml").read_text())


def container(job: dict[str, Any]) -> dict[str, Any]:
    (only,) = job["spec"]["template"]["spec"]["containers"]
    return only


def test_what_kubernetes_demands(job: dict[str, Any]):
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
