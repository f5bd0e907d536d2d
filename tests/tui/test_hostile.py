"""Labs that nobody may trust on the real screens: nothing falls over, nothing is painted outside its cell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.cells import cell_len

from labtui.config import Settings
from labtui.tui.app import LabApp
from store.read import open_lab
from tests.cli.test_hostile import VALUES, WORDS, fill, harmless
from tests.support.fakelab import small_lab
from tests.tui.conftest import seen, until

SCREENS = ("queue", "job", "kappa", "scaling", "trials", "compare", "events", "paper")
ALL_TEXTS = " ".join(WORDS[:6])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_lab(tmp_path_factory.mktemp("made") / "lab.db", alive=True)


async def visit(path: Path) -> None:
    """Every screen, with what stands in the whole terminal looked at cell by cell."""
    app = LabApp(str(path), open_lab=lambda: open_lab(path, read_only=True), settings=Settings())
    app.poller.interval = 0.01
    async with app.run_test(size=(110, 36)) as pilot:
        for screen in SCREENS:
            if screen == "job":
                app.open_job(1)
            elif screen == "compare":
                app.compare_jobs(1, 2)
            else:
                app.show_screen(screen)
            await until(pilot, lambda: not app.front.fresh or bool(app.problem))
            assert app.front.key == screen
            for line in seen(app).split("\n"):
                assert harmless(line) == [], (screen, line)
                assert cell_len(line) <= 110, (screen, line)


@pytest.mark.parametrize("value", [ALL_TEXTS, None, "[" * 3_000, 1e308], ids=lambda v: ascii(v)[:12])
async def test_hostile_labs_on_the_screens(made: Path, tmp_path: Path, value: object) -> None:
    path = tmp_path / "lab.db"
    shutil.copy(made, path)
    fill(path, value, texts_only=value == ALL_TEXTS)
    await visit(path)


@pytest.mark.slow
@pytest.mark.parametrize("value", [*WORDS, *VALUES], ids=lambda v: ascii(v)[:12])
async def test_every_hostile_value_on_the_screens(made: Path, tmp_path: Path, value: object) -> None:
    path = tmp_path / "lab.db"
    shutil.copy(made, path)
    fill(path, value, texts_only=value in WORDS)
    await visit(path)
