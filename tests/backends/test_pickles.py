"""What describes a target can be sent to another process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from qhal.plugin.backend import Backend
from qhal.plugin.calls import call
from qhal.plugin.registry import registry
from qhal.targets import catalog
from qhal.targets.recipe import recipes_of
from qhal.targets.target import Target


@pytest.mark.parametrize("name", [*catalog.builtin(), "example-npu"])
def test_a_target_with_its_capabilities_can_be_pickled(name: str) -> None:
    known = registry()
    profile = known.profile(name)
    caps = call(known.provided(profile.backend), Backend.capabilities, profile)
    target = Target(profile, caps, recipes_of(caps)[0], known.doubts(profile))
    sent = pickle.loads(pickle.dumps(target))
    assert sent == target
    limits = [limit for capability in caps.kernels for limit in capability.limits]
    again = [limit for capability in sent.caps.kernels for limit in capability.limits]
    assert [limit.function for limit in limits] == [limit.function for limit in again]


def test_another_process_takes_targets(tmp_path: Path) -> None:
    known = registry()
    profiles = [known.profile(name) for name in catalog.builtin()]
    caps = [known.backends[p.backend].capabilities(p) for p in profiles]
    (tmp_path / "caps").write_bytes(pickle.dumps(caps))
    script = "import pickle, sys; print(len(pickle.load(open(sys.argv[1], 'rb'))))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "caps")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == len(profiles)


@pytest.mark.parametrize("name", [*registry().backends])
def test_a_backend_can_be_pickled(name: str) -> None:
    provided = registry().provided(name)
    sent = pickle.loads(pickle.dumps(provided))
    assert type(sent.backend) is type(provided.backend)
    assert (sent.info, sent.provider) == (provided.info, provided.provider)
