"""How much of a core a host has: more while it is set up, and never when it is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from infra.local.cloud.containers import Containers
from infra.local.cloud.instance_types import host_type
from infra.local.cloud.settings import CloudSettings
from tests.support.living import Living
from tools.ports import judging
from tools.recovering import BURST

Times = Callable[[], set[float]]


@pytest.fixture
def times(living: Living) -> Iterator[Times]:
    """How many times their own share of a core the kernel gives the hosts; what it was before comes back."""
    before, containers = living.life.speed, Containers(living.name)

    def measured() -> set[float]:
        hosts = [record for record in living.life.cloud.inventory() if record.kind == "Host"]
        assert hosts
        return {round(_cores(containers, host.spec.name) / _own(host.spec.instance_type), 1) for host in hosts}

    yield measured
    living.life.set_speed(before)


def _cores(containers: Containers, name: str) -> float:
    seen = containers.look(containers.name(name))
    limits = containers.limits(seen) if seen else None
    assert limits, f"{name} does not run"
    return limits[0]


def _own(instance_type: str) -> float:
    return host_type(instance_type).limits(CloudSettings())[0]


def test_hosts_burst_while_they_are_set_up_even_if_that_fails(living: Living, times: Times) -> None:
    living.life.set_speed(1.0)
    with pytest.raises(RuntimeError, match="the playbook failed"), living.life.bursting():
        assert times() == {BURST}
        raise RuntimeError("the playbook failed")
    assert times() == {1.0}


def test_hosts_left_bursting_have_their_own_share_again_before_they_are_judged(living: Living, times: Times) -> None:
    living.life.set_speed(BURST)  # as a command leaves them that is killed meanwhile
    assert times() == {BURST}
    said: list[str] = []
    with judging(living.engine, said.append):
        assert times() == {1.0}
    assert said == [f"hosts had {BURST:g} times their share of a core and have their own again"]


def test_hosts_with_their_own_share_are_judged_without_a_word(living: Living, times: Times) -> None:
    living.life.set_speed(1.0)
    said: list[str] = []
    with judging(living.engine, said.append):
        assert times() == {1.0}
    assert said == []
