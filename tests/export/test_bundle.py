"""``labtui bundle`` and ``labtui import``: the lab comes back as it was, and nothing else is ever written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from labtui import Lab
from labtui.__main__ import main
from labtui.export import bundle
from tests.cli.conftest import Labtui

TABLES = ("jobs", "probes", "trials", "curves", "kappa", "cells", "events")


def test_a_lab_comes_back_as_it_was(labtui: Labtui, lab: Path) -> None:
    before = lab.read_bytes()
    assert labtui("--read-only", "bundle", "out.zip").code == 0
    assert lab.read_bytes() == before
    with zipfile.ZipFile("out.zip") as packed:
        assert packed.testzip() is None
        assert set(packed.namelist()) == {bundle.MANIFEST, *bundle.NAMES}
        specs = json.loads(packed.read("spec.json"))
        assert "<h1>" in packed.read("report.html").decode()
    answer = labtui("import", "out.zip", "back.db")
    assert answer.code == 0, answer.err
    assert "checksums agree, no problem found" in answer.err
    for table in TABLES:
        assert getattr(Lab("back.db", frames="rows"), table)() == getattr(Lab(lab, frames="rows"), table)()
    assert set(specs["jobs"]) == {job.hash for job in Lab(lab, frames="rows").jobs()}
    assert Path("back.db").stat().st_mode & 0o777 == 0o600
    assert Path("out.zip").stat().st_mode & 0o777 == 0o600
    assert labtui("import", "out.zip", "back.db").code == 2
    assert labtui("bundle", "out.zip").code == labtui("bundle", "out.tar").code == 2


@pytest.fixture(scope="module")
def packed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the lab, made once."""
    out = tmp_path_factory.mktemp("packed") / "out.zip"
    assert main(["--lab", str(made), "--read-only", "bundle", str(out)]) == 0
    return out


Change = Callable[[dict[str, bytes]], list[tuple[str | zipfile.ZipInfo, bytes]]]


def link(files: dict[str, bytes]) -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    info = zipfile.ZipInfo("lab.db")
    info.external_attr = 0o120777 << 16
    return [*((n, d) for n, d in files.items() if n != "lab.db"), (info, b"/etc/passwd")]


def bomb(files: dict[str, bytes]) -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return list((files | {"lab.db": bytes(64 << 20)}).items())


CHANGES: dict[str, Change] = {
    "holds '../up.db'": lambda f: [*f.items(), ("../up.db", b"x")],
    "holds '/abs.db'": lambda f: [*f.items(), ("/abs.db", b"x")],
    "holds 'more.txt'": lambda f: [*f.items(), ("more.txt", b"x")],
    "as a link or a folder": link,
    "that unpacks to": bomb,
    "holds a name twice": lambda f: [*f.items(), ("spec.json", b"{}")],
    "holds no manifest.json": lambda f: [(n, d) for n, d in f.items() if n != "manifest.json"],
    "lists other files": lambda f: [(n, d) for n, d in f.items() if n != "spec.json"],
    "another checksum": lambda f: list((f | {"report.html": f["report.html"][:-1] + b"x"}).items()),
    "larger than its manifest": lambda f: list((f | {"spec.json": f["spec.json"] + b" "}).items()),
    "has the format": lambda f: list((f | {"manifest.json": b"[" * 50}).items()),
    "without sizes": lambda f: list(
        (
            f | {"manifest.json": json.dumps({"format": bundle.FORMAT, "files": {"lab.db": 1}}).encode()}
        ).items()
    ),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("said", CHANGES)
def test_what_no_bundle_holds_is_refused(labtui: Labtui, packed: Path, tmp_path: Path, said: str) -> None:
    with zipfile.ZipFile(packed) as good:
        files = {name: good.read(name) for name in good.namelist()}
    with zipfile.ZipFile("bad.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in CHANGES[said](files):
            made.writestr(name, data, zipfile.ZIP_DEFLATED)
    answer = labtui("import", "bad.zip", "back.db")
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert not Path("back.db").exists()
    assert not (tmp_path.parent / "up.db").exists()


def test_damaged_bytes_are_one_sentence(labtui: Labtui, packed: Path) -> None:
    good = packed.read_bytes()
    damaged = [b"", b"PK", good[: len(good) // 2], b"x" * 5000]
    damaged += [
        good[:i] + bytes([good[i] ^ 255]) + good[i + 1 :] for i in range(0, len(good), len(good) // 25)
    ]
    for data in damaged:
        Path("bad.zip").write_bytes(data)
        answer = labtui("import", "bad.zip", "back.db")
        assert answer.code in (0, 2), answer.err
        assert answer.err.count("\n") == 1
        assert Path("back.db").exists() == (answer.code == 0)
        Path("back.db").unlink(missing_ok=True)
    assert labtui("import", "none.zip", "back.db").code == 2
    assert labtui("import", ".", "back.db").code == 2


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bundle_packed_in_another_way_is_refused_before_it_is_unpacked(
    labtui: Labtui, lab: Path, method: int
) -> None:
    assert labtui("bundle", "out.zip").code == 0
    with zipfile.ZipFile("out.zip") as packed, zipfile.ZipFile("bad.zip", "w", method) as made:
        for name in packed.namelist():
            made.writestr(name, packed.read(name))
    data = bytearray(Path("bad.zip").read_bytes())
    data[len(data) // 2 :][:40] = b"\xa5" * 40
    Path("bad.zip").write_bytes(data)
    answer = labtui("import", "bad.zip", "back.db")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "packed in another way" in answer.err
    assert not Path("back.db").exists()


def test_what_is_wrong_is_told_of_the_bundle_and_not_of_the_new_file(labtui: Labtui, lab: Path) -> None:
    lab.write_bytes(b"no lab" * 1000)
    bundle.pack(Path("bad.zip"), {"lab.db": lab}, {})
    answer = labtui("import", "bad.zip", "back.db")
    assert answer.code == 2
    assert answer.err.startswith("labtui: bad.zip: lab.db is not a lab")
    end = bytearray(Path("bad.zip").read_bytes())
    end[-6:-2] = b"\xff" * 4  # the list of files lies before the beginning
    Path("bad.zip").write_bytes(end)
    answer = labtui("import", "bad.zip", "back.db")
    assert answer.code == 2
    assert answer.err.startswith("labtui: bad.zip cannot be read")
    assert not list(Path().glob("back.db*"))
    assert not list(Path().glob(".labtui-*"))
