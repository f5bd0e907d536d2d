"""Kernels as functions of this process: found in a cache of this user, compiled where it has none.

A kernel takes one argument, the address of a table of integers: sizes, and addresses of buffers. What is
loaded is machine code that this user alone could have written: the folder is the user's own (0700), no lab's,
and a file in it counts only if it is the user's, nobody else may write it, and its digest is right. It is
compiled aside and renamed, so that two workers that begin together are in nobody's way.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import platform
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from runners.interrupt import check_interrupt

SOURCES = Path(__file__).resolve().parent
PLACE = "LABTUI_KERNELS"
"""The variable that names another folder for compiled kernels, or says off."""
POLL_S = 0.05
Kernel = Callable[[int], None]
CALLED = {name: name for name in ("memset", "memcpy", "memmove")} | dict.fromkeys(
    (
        "NRT_Free",
        "numba_do_raise",
        "numba_gil_ensure",
        "numba_gil_release",
        "numba_runtime_build_excinfo_struct",
        "numba_unpickle",
    ),
    "abort",
)
"""What the code calls of libc, and what it would call where a kernel raised: none does."""
_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_ENGINES: list[object] = []
"""What holds the machine code: for ever."""


@cache
def processor() -> str:
    """LLVM's name of this processor."""
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())


@cache
def features() -> str:
    """What this processor can do, in LLVM's words; whole vectors are preferred."""
    import llvmlite.binding as llvm

    return f"{llvm.get_host_cpu_features().flatten()},-prefer-256-bit"


@cache
def lanes() -> int:
    """Numbers of a vector: 16 with AVX-512, 8 with AVX2; 0 on another processor, or without numba."""
    if platform.machine() not in ("x86_64", "AMD64") or os.environ.get(PLACE) == "off":
        return 0
    try:
        version("numba")
        version("platformdirs")
        import llvmlite.binding as llvm
    except (ImportError, PackageNotFoundError, OSError):
        return 0
    found = llvm.get_host_cpu_features()
    if all(found.get(f) for f in ("avx512f", "avx512vl", "avx512dq", "avx512bw")):
        return 16
    return 8 if found.get("avx2") and found.get("fma") else 0


@cache
def kernel(family: str) -> Kernel | None:
    """The kernel of a family; None where torch has to do.

    Raises:
        Interrupted: it was being compiled.
    """
    if not lanes():
        return None
    code = _stored(family)
    if code is None:
        with _turn(family):
            code = _stored(family) or _compiled(family)
    return None if code is None else _load(code)


def _load(code: bytes) -> Kernel:
    import llvmlite.binding as llvm

    here = ctypes.CDLL(None)
    for name in CALLED:
        llvm.add_symbol(name, ctypes.cast(here[CALLED[name]], ctypes.c_void_p).value)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        jit=True, codemodel="jitdefault", reloc="pic"
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    return _CALL(engine.get_function_address("run"))


def folder() -> Path:
    """Where compiled kernels lie."""
    from platformdirs import user_cache_path  # the engine is also used where torch, numpy, pydantic are all

    named = os.environ.get(PLACE, "")
    return Path(named) if Path(named).is_absolute() else user_cache_path("labtui") / "kernels"


@cache
def signature() -> str:
    """A digest of all that the machine code depends on: sums of another one have other last bits; empty where
    torch has to do.
    """
    if not lanes():
        return ""
    seen = hashlib.sha256()
    for part in sorted(SOURCES.glob("*.py")):
        seen.update(part.read_bytes())
    for word in (processor(), features(), version("numba"), version("llvmlite"), sys.version):
        seen.update(f"\\0{word}".encode())
    return seen.hexdigest()[:32]


def _file(family: str) -> Path:
    return folder() / f"{family}-{signature()}.o"


def _own_folder() -> Path | None:
    """The folder, made where it is missing; None where it could be written by somebody else."""
    place = folder()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
    return place if private and found.st_uid == os.getuid() else None


def _stored(family: str) -> bytes | None:
    if _own_folder() is None:
        return None
    try:
        descriptor = os.open(_file(family), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            return None
        data = file.read()
    digest, code = data[:32], data[32:]
    return code if code and hashlib.sha256(code).digest() == digest else None


@contextmanager
def _turn(family: str) -> Iterator[None]:
    """Two workers that begin together compile once: the second waits for the first.

    Raises:
        Interrupted: it was not this one's turn yet.
    """
    place = _own_folder()
    if place is None:
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(place / f"{family}.lock", flags, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check_interrupt()
                time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def _compiled(family: str) -> bytes | None:
    """Compile in a process of its own, and keep the result where there is a place of ours."""
    with tempfile.TemporaryDirectory() as aside:
        made, said = Path(aside) / "kernels.o", Path(aside) / "said"
        command = [sys.executable, "-P", "-m", "runners.kernels.compile", family, str(made)]
        named = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCES.parents[1]), *named])}
        with said.open("wb") as log, subprocess.Popen(command, env=env, stdout=log, stderr=log) as child:
            try:
                while child.poll() is None:
                    check_interrupt()
                    with suppress(subprocess.TimeoutExpired):
                        child.wait(POLL_S)
            except BaseException:
                child.kill()
                raise
        if child.returncode:
            last = said.read_text("utf-8", "replace").strip().rpartition("\n")[2]
            warnings.warn(f"kernels of {family} were not compiled, torch does it all: {last}", stacklevel=2)
            return None
        code = made.read_bytes()
    _keep(family, code)
    return code


def _keep(family: str, code: bytes) -> None:
    place = _own_folder()
    if place is None:
        return
    try:
        descriptor, name = tempfile.mkstemp(dir=place)
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        Path(name).replace(_file(family))
    except OSError:
        return
