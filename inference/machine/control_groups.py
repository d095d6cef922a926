"""The control groups (Linux cgroups, version 1 and 2) around this process: a container's limits."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


class Group(NamedTuple):
    """One control group: the folder of its files, and which version's files these are."""

    folder: Path
    version: int


def groups_around(controller: str) -> list[Group]:
    """Groups that limit this process by ``controller`` (``memory`` or ``cpu``), nested ones all.

    Some may not be there. An empty list where the system has no control groups.
    """
    try:
        lines = _GROUPS.read_text().splitlines()
    except OSError:
        return []
    found: list[Group] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 1 mounts controllers that belong together once, under all their names, and links
        # to that under each; in version 2 there are no names.
        roots = {_MOUNT / controllers, _MOUNT / controller} if controllers else {_MOUNT}
        for root in roots:
            inner = root / path.lstrip("/")
            # In a container the path may be the host's, and the mount itself the container's group.
            nested = [root, *(p for p in (inner, *inner.parents) if root in p.parents)]
            found += [Group(folder, 1 if controllers else 2) for folder in nested]
    return found


@lru_cache(maxsize=1)
def processor_quota() -> float | None:
    """Processors' worth of time that containers leave this process: the least of all groups' CPU
    bandwidth (``docker run --cpus``, Kubernetes' limits); None where there is no such limit.

    Asked once: it is wanted for every few planes of a scan.
    """
    quotas = (_quota_of(group) for group in groups_around("cpu"))
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(group: Group) -> float | None:
    try:
        if group.version == 1:
            quota, period = (
                (group.folder / name).read_text()
                for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            )
        else:
            quota, period = (group.folder / "cpu.max").read_text().split()
        share = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max 100000", too
        return None
    return share if share > 0 else None  # version 1 says -1
