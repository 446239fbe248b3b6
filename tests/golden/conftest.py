"""A store made once by `sartor run`, and a copy of it for each test."""

import pytest
from golden_house import House, copy_of, write_rows


@pytest.fixture(scope="session")
def first_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Rows, a task, and what `sartor run` made of them; not to be changed."""
    house = House(tmp_path_factory.mktemp("house"))
    write_rows(house.folder / "rows.csv")
    house.task()
    done = house.sartor("run", "task.yaml")
    assert done.code == 0, done.err
    return house


@pytest.fixture
def house(first_house: House, tmp_path) -> House:
    """A copy to work in."""
    return copy_of(first_house, tmp_path / "house")
