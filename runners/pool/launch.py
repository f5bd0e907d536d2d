"""The command line of the supervisor: take the lock, detach, log, run."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from runners.pool.devices import detect
from runners.pool.fork_server import ForkServer
from runners.pool.identity import identify, version
from runners.pool.local import LocalPool, worker_environment
from runners.pool.notify import taken_command
from runners.pool.options import MAX_THREADS, TRAINER, Options
from runners.pool.protocol import Pool
from runners.pool.signals import StopSignals
from store.connect import SCHEMA
from store.errors import LabError, Supervised
from store.files import open_own
from store.header import check_header
from store.locks import SupervisorLock, holder, newer
from store.paths import LabPaths, refuse_place

if TYPE_CHECKING:
    from runners.pool.ray_pool import RayPool

UP = "\n"
"""How the word of a detached supervisor begins that is up, or that will be."""
REJOIN_S = 600.0
"""How long a cluster whose head has gone is waited for; a daemon waits until it is told to end."""
KNOCK_S = 2.0
HANDOVER_S = 7 * 24 * 3600.0
"""How long a newer labtui waits for an older supervisor to finish its probes."""


def parser() -> argparse.ArgumentParser:
    """Options of ``python -m runners``."""
    p = argparse.ArgumentParser(
        prog="python -m runners", description="Supervise a lab: run its searches on this machine."
    )
    p.add_argument("--lab", type=Path, required=True, metavar="FILE")
    p.add_argument(
        "--foreground",
        action="store_true",
        help="stay in this terminal (for systemd, containers, a batch job)",
    )
    p.add_argument("--until-empty", action="store_true", help="end when nothing is queued or running")
    p.add_argument(
        "--daemon", action="store_true", help="stay when there is nothing to do (else ends after 10 minutes)"
    )
    p.add_argument("--slots", type=_positive, metavar="N", help="workers on the CPU (default: one per core)")
    p.add_argument(
        "--threads",
        type=_positive,
        metavar="N",
        help="threads of each worker (default: OMP_NUM_THREADS, else 1)",
    )
    p.add_argument(
        "--devices", default="", metavar="IDS", help="cpu, cuda:0, ... (default: all CUDA devices, else cpu)"
    )
    p.add_argument("--engine", choices=("local", "ray"), default="local", help="where workers run")
    p.add_argument(
        "--address", default="auto", metavar="A", help="of the Ray cluster: auto, local, HOST:PORT"
    )
    p.add_argument("--rejoin", default="", help=argparse.SUPPRESS)
    p.add_argument("--trainer", default=TRAINER, metavar="MODULE:CLASS")
    p.add_argument(
        "--keep-checkpoints-days",
        type=float,
        metavar="DAYS",
        help="of work that failed or was cancelled (default: for ever)",
    )
    p.add_argument(
        "--keep-logs-mb", type=float, default=Options.keep_logs_mb, metavar="MIB", help="size of each log"
    )
    p.add_argument("--lifeline", type=int, metavar="FD", help=argparse.SUPPRESS)
    p.add_argument("--no-speculation", action="store_true", help="never try a candidate before its turn")
    p.add_argument("--no-packing", action="store_true", help="never train several searches in one batch")
    defaults = Options(Path())
    for name in ("lease", "stall", "idle", "backoff", "grace", "missing"):
        p.add_argument(
            f"--{name}",
            type=float,
            default=getattr(defaults, f"{name}_s"),
            metavar="SECONDS",
            help=argparse.SUPPRESS,
        )
    return p


def _positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= MAX_THREADS:
        raise argparse.ArgumentTypeError(f"is {value}; expected 1 to {MAX_THREADS}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 (detached and up, or ended well), 1 (ended by a fault),
    2 (not started: one sentence on stderr).
    """
    args = parser().parse_args(argv)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it is told of no child's end
    os.umask(0o077)  # of this process and its workers: what they write is the owner's alone
    options = Options(
        lab=args.lab.absolute(),
        engine=args.engine,
        address=args.address,
        rejoin=args.rejoin,
        devices=tuple(d.strip() for d in args.devices.split(",") if d.strip()),
        slots=args.slots,
        threads=args.threads,
        trainer=args.trainer,
        until_empty=args.until_empty,
        daemon=args.daemon,
        idle_s=args.idle,
        lease_s=args.lease,
        stall_s=args.stall,
        backoff_s=args.backoff,
        grace_s=args.grace,
        missing_s=args.missing,
        notify=taken_command(os.environ),
        keep_checkpoints_days=args.keep_checkpoints_days,
        keep_logs_mb=args.keep_logs_mb,
        speculate=not args.no_speculation,
        pack=not args.no_packing,
    )
    try:
        LabPaths(options.lab).require_file()
        refuse_place(LabPaths(options.lab))
    except LabError as error:
        return _refused(error)
    if args.foreground or options.rejoin:
        return _run(options, terminal=args.foreground, lifeline=args.lifeline)
    return _detached(options)


def _end_with(descriptor: int) -> None:
    """End this process in good order once the other end of a pipe is closed, however its holder ended."""
    with suppress(OSError):
        while os.read(descriptor, 64):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _refused(error: Exception | str) -> int:
    print(f"labtui: {error}", file=sys.stderr)
    return 2


class _Caller:
    """The process that was called and waits for one word of the detached one; it may be gone by then."""

    def __init__(self, up: int | None) -> None:
        self._up = up
        self.detached = up is not None

    def tell(self, text: str) -> None:
        if self._up is not None:
            with suppress(OSError):
                os.write(self._up, text.encode())
            os.close(self._up)
            self._up = None


def _run(options: Options, *, terminal: bool, lifeline: int | None = None, up: int | None = None) -> int:
    caller = _Caller(up)
    forks: ForkServer | None = None
    if options.engine == "local":  # before a thread, a lock or a driver's library is in this process
        forks = ForkServer.begin(worker_environment(options.threads_of_a_worker(), {}))
    if lifeline is not None:
        threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    paths = LabPaths(options.lab)
    signals = StopSignals()
    signals.listen()
    try:
        devices = detect(options.devices) if options.engine == "local" else []
        if (
            check_header(paths.lab) != SCHEMA
        ):  # upgraded, or refused where it is newer, before "it runs" is told
            from store.write import create_or_open

            create_or_open(paths.lab)
        lock = _acquire(paths, caller, signals)
        if options.rejoin:
            _log_to(paths, terminal, int(options.keep_logs_mb * 2**20))
        pool: Pool = LocalPool(devices, forks)
        head = ""
        try:
            if options.engine == "ray":
                pool = joined = _ray(options, signals, lock)
                head = joined.head
        except BaseException as error:
            if options.rejoin:
                lock.tell(str(error), version=version())
            lock.release()
            raise
    except (LabError, ValueError) as error:
        if caller.detached:
            caller.tell(str(error))
            return 2
        if options.rejoin:
            logging.getLogger("labtui").error("%s", error)
            return signals.code if signals.count else 1
        return _refused(error)
    if not options.rejoin:
        _log_to(paths, terminal, int(options.keep_logs_mb * 2**20))
    from runners.pool.supervisor import Supervisor

    supervisor = Supervisor(options, lock, pool, signals=signals)
    caller.tell(UP)
    code = supervisor.run()
    if code == 0 and terminal and not options.until_empty:
        code = signals.code
    if pool.lost:  # an orderly exit would wait for the cluster's head
        logging.shutdown()
        if code and not signals.count and options.address != "local":
            _begin_anew(head)
        os._exit(code)
    return code


def _begin_anew(head: str) -> None:
    """Become a fresh process with the same options, for Ray ends one that has lost its cluster; it waits for
    the cluster and joins it again.
    """
    words = sys.orig_argv[1:]
    if "--rejoin" in words:
        del words[words.index("--rejoin") :][:2]
    os.execv(sys.executable, [sys.executable, *words, "--rejoin", head])  # noqa: S606 - our own command line


def _ray(options: Options, signals: StopSignals, lock: SupervisorLock) -> RayPool:
    """Join the cluster; one that has gone is waited for.

    Raises:
        ValueError: there is none, or it has not come back in time, or this process is to end.
    """
    from runners.pool.ray_pool import RayPool, require_reachable

    until = time.monotonic() + REJOIN_S
    while True:
        try:
            if options.rejoin:
                require_reachable(options.rejoin)
            return RayPool(
                options.address,
                devices=options.devices,
                slots=options.slots,
                threads=options.threads_of_a_worker(),
                trainer=options.trainer,
            )
        except ValueError as error:
            over = signals.count or (not options.daemon and time.monotonic() > until)
            if not options.rejoin or over:
                raise
            lock.tell(f"waiting: {error}", started=identify(os.getpid()).started, version=version())
        finally:
            signals.listen()  # Ray has put its own in their place
        again = time.monotonic() + KNOCK_S
        while not signals.count and time.monotonic() < again:
            time.sleep(0.1)


def _acquire(paths: LabPaths, caller: _Caller, signals: StopSignals) -> SupervisorLock:
    """The lock; a supervisor of an older version is asked to finish its probes and hand over."""
    asked: float | None = None
    while True:
        try:
            return SupervisorLock.acquire(paths, version=version(), started=identify(os.getpid()).started)
        except Supervised:
            other = holder(paths)
            if signals.count or (other and not newer(version(), other.get("version"))):
                raise
            if asked is not None and time.monotonic() - asked > HANDOVER_S:
                raise
        if other and asked is None:
            from store.commands import drain

            asked = time.monotonic()
            drain(paths.lab)
            old = f"the supervisor {other['version']} (process {other.get('pid')})"
            text = f"{old} finishes its probes, then {version()} takes over"
            caller.tell(UP + text)
            if not caller.detached:
                print(f"labtui: {text}", file=sys.stderr)


class _LogFile(logging.handlers.RotatingFileHandler):
    """The supervisor's log, never written through a link."""

    def _open(self) -> TextIOWrapper:
        return os.fdopen(open_own(Path(self.baseFilename), os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a")


def _log_to(paths: LabPaths, terminal: bool, most: int) -> None:
    logging.raiseExceptions = False  # a full disk must not fill stderr with tracebacks of the log
    root = logging.getLogger("labtui")
    root.setLevel(logging.INFO)
    root.propagate = False
    form = logging.Formatter("%(asctime)s %(levelname).1s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
    form.converter = time.gmtime
    file = _LogFile(paths.supervisor_log, maxBytes=most, backupCount=2, delay=True)
    handlers: list[logging.Handler] = [file]
    if terminal:
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setFormatter(form)
        root.addHandler(handler)


def _detached(options: Options) -> int:
    """Fork away from the terminal (no thread and no library that minds runs yet)
    and wait until the lock is held.
    """
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.close(read)
        os.setsid()
        if os.fork() > 0:
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os._exit(_guarded(options, write))
    os.close(write)
    os.waitpid(child, 0)
    answer = b""
    while chunk := os.read(read, 4096):
        answer += chunk
    if answer.startswith(UP.encode()):
        if told := answer.decode().strip():
            print(f"labtui: {told}", file=sys.stderr)
        return 0
    return _refused(
        answer.decode() or f"the supervisor did not start; see {LabPaths(options.lab).supervisor_log}"
    )


def _guarded(options: Options, up: int) -> int:
    try:
        return _run(options, terminal=False, up=up)
    except BaseException:
        logging.getLogger("labtui").exception("the supervisor fell over")
        return 1
