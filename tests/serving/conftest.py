"""Fixtures of the serving tests; what they are made of stands in `serving_house`."""

from pathlib import Path

import pytest
from serving_house import House, write_encoder, write_static


@pytest.fixture(scope="session")
def static_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_static(tmp_path_factory.mktemp("static_base"))


@pytest.fixture(scope="session")
def encoder_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder_base")
    write_encoder(folder, seed=1)
    return folder


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def house() -> House:
    return House()
