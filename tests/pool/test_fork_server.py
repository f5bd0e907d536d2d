"""Workers that are forked are as good as those that are spawned, whatever becomes of what forks them."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from runners.pool import protocol as m
from runners.pool.devices import Device
from runners.pool.fork_server import LOST, ForkServer
from runners.pool.identity import identify
from runners.pool.local import LocalPool, LocalWorker, worker_environment
from store.paths import LabPaths
from tests.support import labs
from tests.support.pool_contract import ENV, Driver, PoolContract

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are spawned elsewhere")


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ForkServer]:
    for name, value in {**ENV, "STANDIN_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    server = ForkServer.begin(worker_environment(1, {}))
    assert server is not None
    yield server
    server.close()


@pytest.fixture
def forks_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], ForkServer]]:
    """Begins a server that finds a module of that name and source, as spawned workers do."""
    begun: list[ForkServer] = []
    monkeypatch.setenv("STANDIN_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)

    def begin(name: str, source: str) -> ForkServer:
        (tmp_path / f"{name}.py").write_text(source)
        server = ForkServer.begin(worker_environment(1, {}))
        assert server is not None
        begun.append(server)
        return server

    yield begin
    for server in begun:
        server.close()


class TestForked(PoolContract):
    @pytest.fixture
    def pool(self, forks: ForkServer) -> LocalPool:
        return LocalPool([Device("cpu", "this machine")], forks)

    def test_its_code_is_known_although_it_is_the_servers_child(self, start: Callable[[], Driver]) -> None:
        driver = start()
        os.kill(driver.worker.pid, signal.SIGTERM)
        assert driver.ended() == 0
        driver = start()
        assert psutil.Process(driver.worker.pid).ppid() != os.getpid()
        os.kill(driver.worker.pid, signal.SIGSEGV)
        assert driver.ended() == -signal.SIGSEGV

    def test_one_outlives_its_server_and_the_next_is_spawned(
        self, start: Callable[[], Driver], forks: ForkServer, tmp_path: Path
    ) -> None:
        first = start()
        server = psutil.Process(first.worker.pid).parent()
        assert server is not None
        server.kill()
        labs.wait(lambda: forks.prepare(labs.TRAINER) and forks.gone, what="the server's end")
        first.train(tmp_path / "first")
        first.of(m.Finished)
        second = start()
        assert psutil.Process(second.worker.pid).ppid() == os.getpid()
        first.worker.kill()
        assert first.ended() == LOST
        assert second.worker.exit_code() is None


def test_what_was_registered_for_the_end_is_the_supervisors_to_do(tmp_path: Path) -> None:
    """A worker that ends in good order runs its own hooks alone, and deletes no temporary folder of ours."""
    told = tmp_path / "told"
    hook = atexit.register(told.touch)
    try:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            server = ForkServer.begin(worker_environment(1, {}))
            assert server is not None
            worker = LocalWorker("cpu.0", labs.TRAINER, 1, tmp_path / "worker.log", forks=server)
            worker.quit()
            assert labs.wait_code(worker) == 0
            worker.close()
            server.close()
            assert Path(folder).is_dir()
    finally:
        atexit.unregister(hook)
    assert not told.exists()


def test_a_trainer_is_imported_once_and_told_when(forks: ForkServer) -> None:
    labs.wait(lambda: forks.prepare(labs.TRAINER), what="the import")
    assert forks.prepare(labs.TRAINER)
    assert not forks.gone


@pytest.mark.parametrize("trainer", ["nothere:Trainer", "tests.support.standin:Missing", "nonsense"])
def test_what_cannot_be_imported_is_told_by_the_worker(
    forks: ForkServer, trainer: str, tmp_path: Path
) -> None:
    labs.wait(lambda: forks.prepare(trainer), what="the answer")
    assert forks.gone
    worker = LocalWorker("cpu.0", trainer, 1, tmp_path / "worker.log", forks=forks)
    assert labs.wait_code(worker) == 1
    worker.close()
    assert trainer.partition(":")[0] in worker.tail()


def test_a_trainer_that_ends_the_server_is_tried_by_a_spawned_worker(
    forks_with: Callable[[str, str], ForkServer], tmp_path: Path
) -> None:
    fresh = forks_with("ends", "import os\nos._exit(7)\n")
    pool = LocalPool([Device("cpu", "this machine")], fresh)
    labs.wait(lambda: pool.prepare(pool.devices()[0], "ends:Trainer"), what="the server's end")
    assert fresh.gone
    worker = pool.start(
        "cpu.0", pool.devices()[0], "ends:Trainer", 1, tmp_path / "worker.log", time.monotonic
    )
    assert labs.wait_code(worker) == 7
    worker.close()


FAILS_ONCE = """
import json, pathlib
from tests.support.standin import Trainer
state = pathlib.Path(__file__).with_name("tried")
if not state.exists():
    state.touch()
    raise OSError("the disk was away for a moment")
"""


@pytest.mark.parametrize(
    "source",
    [
        FAILS_ONCE,
        "import threading, time\nfrom tests.support.standin import Trainer\n"
        "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n",
    ],
)
def test_half_of_an_import_or_a_thread_is_nothing_to_fork(
    source: str, forks_with: Callable[[str, str], ForkServer], tmp_path: Path
) -> None:
    fresh = forks_with("odd", source)
    labs.wait(lambda: fresh.prepare("odd:Trainer"), what="the server's end")
    assert fresh.gone
    worker = LocalWorker("cpu.0", "odd:Trainer", 1, tmp_path / "worker.log", forks=fresh)
    labs.wait(lambda: any(isinstance(x, m.Ready) for x in worker.receive()), what="a worker")
    worker.kill()
    worker.close()


def test_while_it_imports_workers_are_spawned_and_their_ends_waited_for_by_nobody(
    forks_with: Callable[[str, str], ForkServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forks = forks_with("hangs", "import threading\nthreading.Event().wait()\n")
    labs.wait(lambda: forks.prepare(labs.TRAINER), what="the import")
    forked = LocalWorker("cpu.0", labs.TRAINER, 1, tmp_path / "worker.log", forks=forks)
    assert not forks.prepare("hangs:Trainer")
    assert not forks.ready
    spawned = LocalWorker("cpu.1", labs.TRAINER, 1, tmp_path / "other.log", forks=forks)
    assert psutil.Process(spawned.pid).ppid() == os.getpid()
    forked.kill()
    spawned.kill()
    begun = time.monotonic()
    forked.close()
    spawned.close()
    assert time.monotonic() - begun < 5.0
    assert not forks.prepare("hangs:Trainer")
    monkeypatch.setattr("runners.pool.fork_server.IMPORT_S", 0.0)
    assert forks.prepare("hangs:Trainer")
    assert forks.gone


def test_a_hangup_ends_neither_and_the_server_tells_of_those_whom_a_signal_to_all_ends(
    forks: ForkServer, tmp_path: Path
) -> None:
    worker = LocalWorker("cpu.0", labs.TRAINER, 1, tmp_path / "worker.log", forks=forks)
    labs.wait(lambda: any(isinstance(x, m.Ready) for x in worker.receive()), what="a worker")
    server = psutil.Process(worker.pid).parent()
    assert server is not None
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
        server.send_signal(number)
    os.kill(worker.pid, signal.SIGHUP)
    os.kill(worker.pid, signal.SIGTERM)
    assert labs.wait_code(worker) == 0
    assert not forks.gone
    worker.close()


def test_a_server_that_is_stopped_is_given_up(
    forks: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runners.pool.fork_server.REPLY_S", 0.2)
    labs.wait(lambda: forks.prepare(labs.TRAINER), what="the import")
    psutil.Process(forks._pid).suspend()
    with pytest.raises(OSError, match="has ended"):
        LocalWorker("cpu.0", labs.TRAINER, 1, tmp_path / "worker.log", forks=forks)
    assert forks.gone
    worker = LocalWorker("cpu.0", labs.TRAINER, 1, tmp_path / "worker.log", forks=forks)
    assert psutil.Process(worker.pid).ppid() == os.getpid()
    worker.kill()
    worker.close()


def test_where_processes_cannot_be_watched_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int) -> int:
        raise OSError(errno.ENOSYS, "no such call on this kernel")

    monkeypatch.setattr(os, "pidfd_open", refused)
    assert ForkServer.begin({}) is None


def test_devices_that_are_not_the_cpu_have_none(forks: ForkServer) -> None:
    LocalPool([Device("cuda:0", "a card")], forks)
    assert forks.gone


# Through the command


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    lab = tmp_path / "lab.db"
    labs.make(lab, labs.study(4))
    return lab


def _server_of(worker: int) -> psutil.Process:
    found = psutil.Process(worker).parent()
    assert found is not None
    return found


def _open_files(pid: int) -> set[str]:
    found = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(file.readlink()))
    return found


def test_a_worker_holds_nothing_of_the_supervisors(lab: Path) -> None:
    """Neither its lock nor the lab nor a terminal: a lock that lived on would keep the next one out."""
    with labs.supervisor(lab, env={"STANDIN_EVAL_S": "0.05"}) as running:
        labs.wait(lambda: labs.state_of(lab).get("running"), what="a job")
        workers = running.workers()
        server = _server_of(workers[0])
        assert server.ppid() == running.process.pid
        assert {_server_of(w).pid for w in workers} == {server.pid}
        logs = {str(f) for f in LabPaths(lab).worker_logs()}
        for pid in (server.pid, *workers):
            of_lab = {f for f in _open_files(pid) if f.startswith((str(lab), "/dev/pts", "/dev/tty"))}
            assert {f for f in of_lab - logs if "/checkpoints/" not in f} == set()
            assert os.getsid(pid) == pid
        running.process.terminate()
        assert running.ended() == 0
        labs.wait(lambda: not server.is_running(), what="the server's end")


def test_a_supervisor_that_is_killed_leaves_neither_server_nor_workers(lab: Path) -> None:
    running = labs.spawn(lab, env={"STANDIN_EVAL_S": "0.05"})
    labs.wait(lambda: labs.state_of(lab).get("running"), what="a job")
    workers = [identify(pid) for pid in running.workers()]
    server = identify(_server_of(workers[0].pid).pid)
    running.kill()
    labs.wait(lambda: not any(p.alive() for p in (server, *workers)), what="their ends")
    assert labs.spawn(lab).ended() == 0
    labs.verify(lab)


def test_a_search_loses_nothing_when_the_server_is_killed(lab: Path) -> None:
    with labs.supervisor(lab, env={"STANDIN_EVAL_S": "0.02"}) as running:
        labs.wait(lambda: labs.state_of(lab).get("running"), what="a job")
        [first, *_] = running.workers()
        _server_of(first).kill()
        psutil.Process(first).kill()
        assert running.ended() == 0
    labs.verify(lab)


def test_who_ignores_the_ends_of_children_hands_that_on_to_no_supervisor(lab: Path) -> None:
    """``trap '' CHLD``: the system would then tell nobody with what code a worker ended."""
    words = [*labs.command(lab), "--until-empty", "--slots", "2"]
    done = subprocess.run(
        ["/bin/sh", "-c", "trap '' CHLD; exec \"$@\"", "sh", *words],
        env={**os.environ, "STANDIN_DIR": str(lab.parent), "STANDIN_EVAL_S": "0"},
        cwd=labs.ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    labs.verify(lab)
