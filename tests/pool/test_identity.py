"""What a lab remembers of the source tree that trained in it, held against git itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from runners.pool import identity

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *words: str) -> str:
    """What git answers in a folder, with an author of its own."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return folder


@pytest.mark.parametrize("where", ["clone", "packed", "detached", "worktree", "worktree of a packed one"])
def test_the_commit_is_that_of_git(tree: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree
    if where == "detached":
        git(tree, "checkout", "-q", "--detach")
    if where.startswith("worktree"):
        root = tree.parent / "beside"
        git(tree, "worktree", "add", "-q", "-b", "a/b", str(root))
    if "packed" in where:
        git(tree, "pack-refs", "--all")
    monkeypatch.setattr(identity, "ROOT", root)
    assert identity.git_commit.__wrapped__() == git(root, "rev-parse", "HEAD")


@pytest.mark.parametrize("dot_git", [None, "gitdir: nowhere\n", "\udcff", ""])
def test_no_commit_is_told_where_there_is_none(
    tmp_path: Path, dot_git: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dot_git is not None:
        (tmp_path / ".git").write_bytes(dot_git.encode("utf-8", "surrogateescape"))
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    assert identity.git_commit.__wrapped__() is None
