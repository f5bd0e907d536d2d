"""Workers on the nodes of a Ray cluster, seen from the supervisor, which is Ray's driver.

One long-lived actor (``ray_node.SlotActor``) for each slot keeps the same worker process as on this machine.
Answers of Ray arrive in its threads; one thread of ours takes them in, puts checkpoints where they belong,
and wakes the supervisor's loop through a pipe. Nothing that the supervisor calls here waits for the network.
Locks are taken in one order: the pool's, then a worker's.

Ray is imported by :class:`RayPool` alone, and only when one is made.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import re
import resource
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from runners import machine
from runners.engine.types import Plan
from runners.pool import protocol as m
from runners.pool import ray_node
from runners.pool.devices import Device
from runners.pool.identity import ProcessId
from runners.pool.interpreter import ROOT
from runners.pool.local import tail
from runners.pool.options import TRAINER
from runners.pool.protocol import Clock, News, PoolLost
from runners.pool.ray_node import Batch, Facts, SlotActor
from store.files import open_own
from store.rows import NodeRow, NodeState

log = logging.getLogger("labtui")
INSTALL = "Ray is not installed; install it with: pip install 'labtui[ray]'"
WATCH_S = 0.5
LOST_S = 15.0
"""The cluster's head has not answered for so long, and nobody listens at its port: it is gone."""
HUNG_S = 40.0
"""The same where somebody listens: it may be at its limit. Ray itself ends this process after 60 s."""
KILL_S = 3.0
"""How long a node may take to end a worker, until its actor is given up."""
SILENT_S = 8.0
"""A node none of whose workers has been heard for so long is told to be silent."""
CONNECT_S = 5.0
CLOSE_S = 3.0
SHORT = 30
OBJECT_STORE = 100 << 20
"""Bytes of shared memory of a cluster of our own: checkpoints pass through it."""


@dataclass
class _Node:
    """A node of the cluster."""

    id: str
    name: str
    address: str
    cpus: float
    gpus: int
    state: NodeState = "starting"
    note: str = ""
    facts: Facts | None = None
    devices: list[Device] = field(default_factory=list)
    messages: int = 0
    waiting: deque[RayWorker] = field(default_factory=deque)
    """Workers that are to be started."""
    starting: int = 0


@dataclass
class _Actor:
    """An actor, and where it is."""

    handle: Any
    node: _Node


class RayPool:
    """The nodes of one Ray cluster; see :class:`runners.pool.protocol.Pool`."""

    def __init__(
        self,
        address: str,
        *,
        devices: Iterable[str] = (),
        slots: int | None = None,
        threads: int = 1,
        trainer: str = TRAINER,
    ) -> None:
        """Join the cluster at ``address``.

        Args:
            address: ``auto``, ``HOST:PORT``, or ``local``: a cluster of this machine that ends with the pool.
            devices: those to use, as ``cpu``, ``cuda``, ``cuda:0``, ``node-3/cuda:1``; none: all.
            slots: of each node's CPU; None: one for each that Ray has there.
            threads: of each worker.
            trainer: ``module:Class``.

        Raises:
            ValueError: Ray is not installed, or no such cluster can be joined; one sentence.
        """
        self.address = address
        self._wanted, self._slots = tuple(devices), slots
        self._threads, self._trainer = threads, trainer
        self._folder: Path | None = None
        self._ray = self._connect(address)
        self.head = str(self._ray.get_runtime_context().gcs_address)
        """HOST:PORT of the cluster."""
        self._mine = ray_node.facts()
        self._lock = threading.RLock()
        self._nodes: dict[str, _Node] = {}
        self._actors: dict[str, _Actor] = {}
        self._workers: list[RayWorker] = []
        self._news: list[News] = []
        self._runs = 0
        self._counted = self._seen = time.monotonic()
        self._rates: dict[str, float] = {}
        self._closing = threading.Event()
        self._listens = True
        """Somebody does at the head's port, where it has been silent for a while."""
        self._done: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        remote = self._ray.remote
        self._facts = remote(num_cpus=0, max_retries=0)(ray_node.facts)
        self._actor = remote(SlotActor)
        self._threads_of_ours = [
            threading.Thread(target=self._watch, daemon=True, name="ray nodes"),
            threading.Thread(target=self._take_in, daemon=True, name="ray answers"),
            threading.Thread(target=self._knock, daemon=True, name="ray head"),
        ]
        for thread in self._threads_of_ours:
            thread.start()

    # As the supervisor sees it

    def devices(self) -> list[Device]:
        if self.lost:
            silent = time.monotonic() - self._seen
            raise PoolLost(
                f"the Ray cluster ({self.head}) has not answered for {silent:.0f} s: its head is gone; "
                f"what was trained is kept, and goes on once a cluster is there"
            )
        with self._lock:
            nodes = sorted((n for n in self._nodes.values() if n.state == "active"), key=lambda n: n.name)
            return [d for n in nodes for d in n.devices]

    def slots(self, device: Device) -> int:
        node = self._named(device.node)
        return max(1, int(node.cpus)) if node is not None and device.kind == "cpu" else 1

    def shortage(self, device: Device, need: int, reserve: float) -> str:
        """Ray gives out a node's room itself: an actor waits until there is some."""
        node = self._named(device.node)
        if node is None or node.state != "active":
            return f"{device.node or device.id} is not there"
        return ""

    def prepare(self, device: Device, trainer: str) -> bool:
        return True

    def start(
        self, slot: str, device: Device, trainer: str, threads: int, log: Path, clock: Clock
    ) -> RayWorker:
        with self._lock:
            node = self._named(device.node)
            if node is None or node.state != "active":
                raise OSError(errno.ENODEV, f"{device.node} is not there")
            self._runs += 1
            worker = RayWorker(self, node, self._runs, slot, device, log, clock)
            self._workers.append(worker)
            node.waiting.append(worker)
            self._let_in(node)
            return worker

    def _let_in(self, node: _Node) -> None:
        """Start workers that wait, as many at once as the node has cores: a start takes seconds of one."""
        most = max(2, node.facts.cores if node.facts is not None else 0)
        while node.waiting and node.starting < most and node.state == "active":
            worker = node.waiting.popleft()
            if worker.exit_code() is not None:
                continue
            actor = self._actors.get(worker.slot)
            if actor is None:
                actor = self._actors[worker.slot] = self._new_actor(worker.slot, worker.device, node)
            node.starting += 1
            worker.launch(actor.handle)

    def started(self, node: _Node) -> None:
        """A worker is ready, or will never be."""
        with self._lock:
            node.starting -= 1
            self._let_in(node)

    def free(self, slot: str) -> None:
        with self._lock:
            actor = self._actors.get(slot)
            if actor is not None and not self._holds_card(slot):  # a card is not given away: it has its name
                self._give_up(slot)

    def news(self) -> list[News]:
        with self._lock:
            told, self._news = self._news, []
            return told

    def nodes(self) -> list[NodeRow]:
        now = time.monotonic()
        with self._lock:
            if now - self._counted >= 1.0:
                self._rates = {
                    n.id: round(n.messages / (now - self._counted), 1) for n in self._nodes.values()
                }
                for node in self._nodes.values():
                    node.messages = 0
                self._counted = now
            rows = [self._row(node) for node in self._nodes.values()]
        return sorted(rows, key=lambda row: row.name)

    def close(self) -> None:
        self._closing.set()
        self._done.put(None)
        lost = self.lost
        with self._lock:
            actors = list(self._actors.values())
            self._actors.clear()
        if lost:  # every call would wait for the head
            return
        with contextlib.suppress(Exception):
            self._ray.wait(
                [a.handle.clear.remote() for a in actors], num_returns=len(actors), timeout=CLOSE_S
            )
        for actor in actors:
            with contextlib.suppress(Exception):
                self._ray.kill(actor.handle)
        with contextlib.suppress(Exception):
            self._ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def lost(self) -> bool:
        """The cluster is gone, and with it every orderly way to leave it."""
        silent = time.monotonic() - self._seen
        return silent > HUNG_S or (silent > LOST_S and not self._listens)

    # Joining

    def _connect(self, address: str) -> Any:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
        if address == "local" and "ray" not in sys.modules:  # it looks at these when it is imported
            # Others on this machine reach the ports: only what knows the token is heard.
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        try:
            import ray
        except ImportError:
            raise ValueError(INSTALL) from None
        _room_for_files()
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "namespace": "labtui"}
        if address == "local":
            # Its sockets have long names, and a socket's whole path holds 107 bytes.
            room = None if len(tempfile.gettempdir()) < SHORT else "/tmp"  # noqa: S108 - a folder of our own in it
            self._folder = Path(tempfile.mkdtemp(prefix="labtui-ray-", dir=room))
            options |= {
                "num_cpus": self._slots or machine.cores(),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_temp_dir": str(self._folder),
            }
        elif address != "auto":
            require_reachable(address)
        try:
            with contextlib.chdir(ROOT):  # Ray puts this folder on the module path of every worker
                ray.init(address=address, **options)
        except Exception as error:
            why = " ".join(str(error).split())[:300]
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                raise ValueError(f"no Ray cluster can be started on this machine: {why}") from None
            raise ValueError(
                f"no Ray cluster can be joined at {address!r}: {why}; expected one that `ray start` began, "
                f"with the same Ray and Python, on this machine too; or --address local"
            ) from None
        return ray

    # Nodes

    def _named(self, name: str) -> _Node | None:
        with self._lock:
            found = [n for n in self._nodes.values() if n.name == name]
            return next((n for n in found if n.state != "gone"), None)

    def _watch(self) -> None:
        """Ask which nodes there are, and see to what is overdue."""
        while not self._closing.wait(WATCH_S):
            with contextlib.suppress(Exception):  # the head does not answer
                rows = self._ray.nodes()
                self._seen = time.monotonic()
                self._done.put(partial(self._nodes_are, rows))

    def _knock(self) -> None:
        """Where the head is silent, ask whether anybody listens at its port."""
        while not self._closing.wait(LOST_S / 5):
            if time.monotonic() - self._seen > LOST_S / 2:
                try:
                    require_reachable(self.head)
                    self._listens = True
                except ValueError:
                    self._listens = False

    def _nodes_are(self, rows: list[dict[str, Any]]) -> None:
        with self._lock:
            there = {str(r["NodeID"]): r for r in rows if r.get("Alive")}
            for node in list(self._nodes.values()):
                if node.id not in there and node.state != "gone":
                    self._gone(node)
            for key, row in there.items():
                resources = row.get("Resources", {})
                cpus, gpus = float(resources.get("CPU", 0)), int(resources.get("GPU", 0))
                if key not in self._nodes and (cpus >= 1 or gpus):
                    self._came(key, row, cpus, gpus)
            workers = list(self._workers)
        for worker in workers:
            worker.overdue()

    def _came(self, key: str, row: dict[str, Any], cpus: float, gpus: int) -> None:
        name = self._name(row)
        for node in [n for n in self._nodes.values() if n.state == "gone" and n.name == name]:
            del self._nodes[node.id]
        node = _Node(key, name, str(row.get("NodeManagerAddress", "")), cpus, gpus)
        self._nodes[key] = node
        asked = self._facts.options(scheduling_strategy=self._on(node)).remote()
        self.when(asked, partial(self._facts_are, node))

    def _name(self, row: dict[str, Any]) -> str:
        """The name that `ray start --node-name` gave, else the machine's; one that is taken gets a number."""
        given, address = str(row.get("NodeName", "")), str(row.get("NodeManagerAddress", ""))
        host = str(row.get("NodeManagerHostname", "")).partition(".")[0]
        plain = re.sub(r"[^A-Za-z0-9_-]", "-", given if given and given != address else host)[:40] or "node"
        taken = {n.name for n in self._nodes.values() if n.state != "gone"}
        return next(n for i in range(1, 1 << 20) if (n := plain if i == 1 else f"{plain}-{i}") not in taken)

    def _on(self, node: _Node) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)

    def _facts_are(self, node: _Node, future: Future[Facts]) -> None:
        with self._lock:
            self._examine(node, future)

    def _examine(self, node: _Node, future: Future[Facts]) -> None:
        if node.state != "starting":
            return
        if (error := future.exception()) is not None:
            if _is(error, "ActorDiedError", "NodeDiedError", "WorkerCrashedError", "TaskUnschedulableError"):
                del self._nodes[node.id]  # asked again, if it is still there
                return
            why = " ".join(str(error).split())[-300:]
            self._refuse(node, f"labtui cannot be run there ({why}); install it there as here")
            return
        node.facts = future.result()
        if problem := differs(self._mine, node.facts, self._trainer):
            self._refuse(node, problem)
            return
        if node.facts.torch != self._mine.torch and self._mine.torch:
            node.note = f"torch {node.facts.torch or 'none'} (here {self._mine.torch}): last bits may differ"
        node.state = "active"
        if node.gpus:
            for index in range(node.gpus):
                self._hold_card(node, index)
        elif self._is_wanted(f"{node.name}/cpu"):
            node.devices = [Device(f"{node.name}/cpu", node.facts.processor)]
        what = f"{node.gpus} cards" if node.gpus else f"{int(node.cpus)} slots"
        self._news.append(News(f"node {node.name} ({node.address}) is there: {what}"))

    def _refuse(self, node: _Node, why: str) -> None:
        node.state, node.note = "refused", why
        self._news.append(News(f"node {node.name} ({node.address}) is not used: {why}", "warning"))

    def _gone(self, node: _Node) -> None:
        self._news.append(News(f"node {node.name} ({node.address}) has gone", "warning"))
        node.state, node.devices = "gone", []
        for slot in [s for s, a in self._actors.items() if a.node is node]:
            del self._actors[slot]
        for worker in [w for w in self._workers if w.node is node]:
            worker.lose(f"its node {node.name} has gone")

    def _is_wanted(self, device: str) -> bool:
        one = Device(device, "")
        return not self._wanted or any(w in (one.id, one.local, one.kind) for w in self._wanted)

    def _row(self, node: _Node) -> NodeRow:
        workers = [w for w in self._workers if w.node is node and w.exit_code() is None]
        heard = max((w.asked_or_heard for w in workers), default=None)
        silent = heard is not None and time.monotonic() - heard > SILENT_S
        f = node.facts
        return NodeRow(
            node.name,
            "silent" if silent and node.state == "active" else node.state,
            node.note,
            node.address,
            sum(self.slots(d) for d in node.devices),
            sum(w.ready is not None for w in workers),
            sum(w.training for w in workers),
            self._rates.get(node.id, 0.0),
            f"labtui {f.labtui}, Python {f.python}, torch {f.torch or 'none'}" if f is not None else "",
        )

    # Actors

    def _new_actor(self, slot: str, device: Device, node: _Node, card: str | None = None) -> _Actor:
        """An actor for a slot; the first one of a card is held already (:meth:`_hold_card`)."""
        env: dict[str, str] = {}
        needs: dict[str, float] = {"num_cpus": min(1.0, node.cpus / max(1, self._slots or 1))}
        if device.kind == "cuda":  # a further one on a card that the first one holds
            needs = {"num_cpus": 0, "num_gpus": 0}
            env["CUDA_VISIBLE_DEVICES"] = device.local.partition(":")[2]
        return _Actor(self._remote_actor(slot, node, env, needs), node)

    def _remote_actor(self, slot: str, node: _Node, env: dict[str, str], needs: dict[str, float]) -> Any:
        return self._actor.options(
            **needs,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=4,
            scheduling_strategy=self._on(node),
        ).remote(slot, self._trainer, self._threads, env)

    def _hold_card(self, node: _Node, index: int) -> None:
        """Ask Ray for a card of a node; which one it is, and so the device's name, the actor tells."""
        actor = self._remote_actor(f"{node.name}/card.{index}", node, {}, {"num_cpus": 0, "num_gpus": 1})
        self.when(actor.card.remote(), partial(self._card_is, node, index, actor))

    def _card_is(self, node: _Node, index: int, actor: Any, future: Future[tuple[str, str]]) -> None:
        with self._lock:
            self._name_card(node, index, actor, future)

    def _name_card(self, node: _Node, index: int, actor: Any, future: Future[tuple[str, str]]) -> None:
        if node.state != "active" or self._closing.is_set():
            return
        if future.exception() is not None:
            self._hold_card(node, index)
            return
        number, name = future.result()
        device = Device(f"{node.name}/cuda:{number or index}", name)
        if self._is_wanted(device.id):
            self._actors[f"{device.id}.0"] = _Actor(actor, node)
            node.devices = sorted([*node.devices, device], key=lambda d: d.id)
        else:
            self._ray.kill(actor)

    def _holds_card(self, slot: str) -> bool:
        device, _, index = slot.rpartition(".")
        return index == "0" and Device(device, "").kind == "cuda"

    def _give_up(self, slot: str) -> None:
        actor = self._actors.pop(slot, None)
        if actor is None or self.lost:  # every call would wait for the head
            return
        with contextlib.suppress(Exception):
            self._ray.kill(actor.handle)
        if self._holds_card(slot) and actor.node.state == "active":
            device = slot.rpartition(".")[0]
            actor.node.devices = [d for d in actor.node.devices if d.id != device]
            self._hold_card(actor.node, int(Device(device, "").local.partition(":")[2] or 0))

    # Of its workers

    def gave_up(self, worker: RayWorker) -> None:
        """An actor does not answer, or has died: another one takes its place."""
        with self._lock:
            found = self._actors.get(worker.slot)
            if found is not None and found.handle is worker.handle:
                self._give_up(worker.slot)

    def forget(self, worker: RayWorker) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._workers.remove(worker)

    def when(self, ref: Any, then: Callable[[Future[Any]], None]) -> None:
        """Call it with the answer, in the thread that takes them in."""
        ref.future().add_done_callback(lambda f: self._done.put(partial(then, f)))

    def _take_in(self) -> None:
        while (call := self._done.get()) is not None:
            try:
                call()
            except Exception:
                log.exception("an answer of Ray could not be taken in")


class RayWorker:
    """A worker on a node; see :class:`runners.pool.protocol.WorkerProcess`."""

    def __init__(
        self, pool: RayPool, node: _Node, run: int, slot: str, device: Device, log: Path, clock: Clock
    ) -> None:
        self.slot, self.node, self.device = slot, node, device
        self.handle: Any = None
        """Of its actor, once it was let in."""
        self.id = ProcessId(0, slot, f"ray/{node.id}")
        self.ready: m.Ready | None = None
        self.rss, self.silent_s, self.pid = 0, 0.0, 0
        self.closed = self.quitting = self.holding = self.training = False
        self.asked_or_heard = time.monotonic()
        self._heard = clock()
        self._pool, self._run, self._log, self._clock = pool, run, log, clock
        self._starting = False
        self._lock = threading.RLock()
        self._arrived: deque[m.Up | m.MessageError] = deque()
        self._unheard: dict[int, tuple[bytes, ray_node.Files]] = {}
        self._sent = self._have = 0
        self._started = self._stopped = False
        self._code: int | None = None
        self._lost = ""
        self._folder = Path()
        self._killed_at: float | None = None
        self._again_at: float | None = None
        self.up, self._wake = os.pipe()
        os.set_blocking(self.up, False)
        os.set_blocking(self._wake, False)

    def launch(self, handle: Any) -> None:
        """There is room on its node for its start."""
        self.handle, self._starting = handle, True
        self._pool.when(handle.start.remote(self._run), self._began)

    # As the supervisor sees it

    @property
    def heard(self) -> float:
        """One that waits for room on its node says nothing, and nothing is wrong with it."""
        return self._heard if self._started else self._clock()

    def send(self, message: m.Down) -> None:
        files: ray_node.Files = ()
        if isinstance(message, m.Train):
            self.training = True
            if message.resume:
                with contextlib.suppress(OSError):
                    files = ray_node.take(Path(message.checkpoint_dir))
            self._folder = Path(message.checkpoint_dir)
            message = replace(message, device=self._there, plan=self._plan(message.plan, self._there))
        elif isinstance(message, m.Prepare):
            message = replace(message, device=self._there)
        with self._lock:
            if self._code is not None:
                return
            self._sent += 1
            self._unheard[self._sent] = (m.encode(message), files)
            if self._started:
                self._tell(self._sent)

    def flush(self) -> None:
        """Ray takes all at once."""

    def receive(self) -> Iterator[m.Up]:
        with contextlib.suppress(BlockingIOError, OSError):
            while os.read(self.up, 4096):
                pass
        while self._arrived:
            message = self._arrived.popleft()
            if isinstance(message, m.MessageError):
                raise message
            if isinstance(message, m.Ready):
                self.ready = message
            elif isinstance(message, m.Beat):
                self.rss, self.silent_s = message.rss, message.silent_s
            elif isinstance(message, m.Planned):
                message = replace(message, plan=replace(message.plan, device=self.device.id))
            elif isinstance(message, m.Finished | m.Halted | m.Failed):
                self.training = False
            yield message
        with self._lock:
            self.closed = self.closed or (self._code is not None and not self._arrived)

    def quit(self) -> None:
        self.quitting = True
        if self.handle is None:
            self._end_unborn(0)
        self.send(m.Quit())

    def _end_unborn(self, code: int) -> None:
        with self._lock:
            if self._code is None:
                self._code = code
                self._notify()

    def exit_code(self) -> int | None:
        return self._code

    def kill(self) -> None:
        if self.handle is None:
            self._end_unborn(-9)
        with self._lock:
            if self._code is None and self._killed_at is None:
                self._killed_at = time.monotonic()
                with contextlib.suppress(Exception):
                    self.handle.kill.remote(self._run)

    def close(self) -> None:
        with self._lock:
            unknown = self._code is None
            self._code = -9 if unknown else self._code
            if not self._stopped:
                self._stopped = self.closed = True
                os.close(self.up)
                os.close(self._wake)
        if unknown and self.handle is not None:
            self._pool.gave_up(self)
        self._is_started()
        self._pool.forget(self)

    def tail(self, size: int = 2000) -> str:
        return f"{self._lost}\n{tail(self._log, size)}" if self._lost else tail(self._log, size)

    # In the thread that takes answers in

    def lose(self, why: str) -> None:
        """Nothing will come from it any more."""
        with self._lock:
            if self._code is None:
                self._lost, self._code = why, -9
                self._notify()
        self._is_started()

    def overdue(self) -> None:
        """See to what should have happened by now."""
        now = time.monotonic()
        if self._code is not None:
            return
        if self._killed_at is not None and now - self._killed_at > KILL_S:
            self.lose("its node did not answer when it was to be killed")
            self._pool.gave_up(self)
        elif self._again_at is not None and now > self._again_at:
            self._again_at = None
            with self._lock:
                for number in sorted(self._unheard):
                    self._tell(number)
            self._ask()

    def _began(self, future: Future[int]) -> None:
        if self._failed(future):
            return
        self.pid = future.result()
        with self._lock:
            self._heard, self.asked_or_heard = self._clock(), time.monotonic()
            self._started = True
            for number in sorted(self._unheard):
                self._tell(number)
        self._ask()

    def _is_started(self) -> None:
        if self._starting:
            self._starting = False
            self._pool.started(self.node)

    def _ask(self) -> None:
        with contextlib.suppress(Exception):
            self._pool.when(self.handle.poll.remote(self._run, self._have), self._came)

    def _came(self, future: Future[Batch]) -> None:
        if self._code is not None or self._failed(future):
            return
        batch = future.result()
        if batch.number > self._have:
            self._have = batch.number
            self._take(batch)
        if any(isinstance(x, m.Ready) for x in self._arrived) or batch.code is not None:
            self._is_started()
        with self._lock:
            for number in [n for n in self._unheard if n <= batch.heard]:
                del self._unheard[number]
            if batch.code is not None:
                self._code = batch.code
            self._notify()
        if batch.code is None and not batch.error:
            self._ask()

    def _failed(self, future: Future[Any]) -> bool:
        error = future.exception()
        if error is None:
            return False
        if _is(error, "ActorUnavailableError"):  # a call was lost; what it brought is brought again
            self._again_at = time.monotonic() + 1.0
            return True
        self.lose(f"its actor has ended: {' '.join(str(error).split())[:300]}")
        self._pool.gave_up(self)
        return True

    def _take(self, batch: Batch) -> None:
        self._heard, self.asked_or_heard = self._clock(), time.monotonic()
        self.node.messages += 1
        if batch.log:
            with (
                contextlib.suppress(OSError),
                os.fdopen(open_own(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as f,
            ):
                f.write(batch.log)
        for up in batch.ups:
            try:
                message = m.decode_up(up.line)
            except m.MessageError as error:
                self._arrived.append(error)
                return
            self._arrived.append(self._kept(message, up.files) if up.files is not None else message)
        if batch.error:
            self._arrived.append(m.MessageError(batch.error))

    def _kept(self, message: m.Up, files: ray_node.Files) -> m.Up:
        """The message, once the checkpoints that it speaks of lie beside the lab."""
        assert isinstance(message, m.Saved | m.Halted)
        try:
            ray_node.put(self._folder, files)
        except FileNotFoundError:
            return message  # its probe is over, and its folder gone
        except OSError as error:
            why = error.strerror or str(error)
            if isinstance(message, m.Halted):
                return replace(message, kept=False)
            return m.Noted(message.tag, f"a checkpoint could not be brought from its node: {why}", "warning")
        return message

    def _tell(self, number: int) -> None:
        line, files = self._unheard[number]
        with contextlib.suppress(Exception):
            self.handle.tell.remote(self._run, number, line, files)

    def _notify(self) -> None:
        if not self._stopped:
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(self._wake, b".")

    # Names of the device

    @property
    def _there(self) -> str:
        """What the worker calls its device: it sees one card alone."""
        return "cpu" if self.device.kind == "cpu" else "cuda:0"

    def _plan(self, plan: Plan | None, device: str) -> Plan | None:
        return None if plan is None else replace(plan, device=device)


def differs(mine: Facts, theirs: Facts, trainer: str = TRAINER) -> str:
    """Why a node cannot be used with this supervisor, in words; empty where it can."""
    for what, here, there in (
        ("labtui", mine.labtui, theirs.labtui),
        ("Python", _minor(mine.python), _minor(theirs.python)),
        ("science_version", str(mine.science), str(theirs.science)),
    ):
        if here != there:
            return f"it has {what} {there}, expected {here} as the supervisor has"
    if trainer == TRAINER and not theirs.torch:
        return "torch is not installed there; install it with: pip install 'labtui[train]'"
    return ""


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])


def _is(error: BaseException, *names: str) -> bool:
    """By name, for Ray is not imported here."""
    return any(c.__name__ in names for c in type(error).__mro__)


def require_reachable(address: str) -> None:
    """Raises ValueError where nothing answers at ``HOST:PORT``: Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(
            f"no Ray cluster answers at {address} ({why}); expected its head's HOST:PORT"
        ) from None


def _room_for_files() -> None:
    """Two descriptors for each worker, and Ray's own: as many as the system lets us have."""
    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
        if soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
