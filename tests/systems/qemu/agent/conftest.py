from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hdvlab.systems.qemu.agent import Agent, agent_binary

from .pty_guest import PtyGuest


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agent_binary(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def guest(binary: Path, tmp_path: Path) -> Iterator[PtyGuest]:
    guest = PtyGuest(binary, tmp_path)
    yield guest
    guest.close()


@pytest.fixture
def agent(guest: PtyGuest) -> Iterator[Agent]:
    agent = Agent(guest.path)
    agent.connect(30)
    yield agent
    agent.close()
