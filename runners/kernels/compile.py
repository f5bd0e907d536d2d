"""Compile one family of kernels to an object file: ``python -m runners.kernels.compile FAMILY FILE``.

A process of its own, so that the flags of the processor and of LLVM are set before numba is loaded, and no
worker keeps a compiler in its memory. The file holds machine code and nothing else.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from runners.kernels.library import features, processor


def main(family: str, target: Path) -> int:
    import llvmlite.binding as llvm

    # Kernels take many pointers: the loops' check that they do not overlap is worth its comparisons.
    llvm.set_option("", "--runtime-memory-check-threshold=256")
    # Over the rows of a matrix they would seem to: the check belongs to the innermost loop.
    llvm.set_option("", "--hoist-runtime-checks=false")
    os.environ["NUMBA_CPU_NAME"], os.environ["NUMBA_CPU_FEATURES"] = processor(), features()
    _compile_roughly(llvm)
    from numba import cfunc, types

    function = importlib.import_module(f"runners.kernels.{family}").run
    signature = types.void(types.CPointer(types.int64))
    made = cfunc(signature, error_model="numpy", fastmath={"contract"})(function)
    whole = llvm.parse_assembly(made.inspect_llvm().replace(made.native_name, "run"))
    machine = llvm.Target.from_triple(whole.triple).create_target_machine(
        cpu=processor(), features=features(), opt=3, reloc="pic", codemodel="jitdefault", jit=True
    )
    target.write_bytes(machine.emit_object(whole))
    return 0


def _compile_roughly(llvm: Any) -> None:
    """Have Numba's own machine code, which it makes of every function by itself and nobody calls, made with
    the least effort. What is kept is made in :func:`main`, of all together (measured: 9.1 s become 6.3 for
    the LSTM, 13.9 become 9.5 for the transformer).
    """
    make = llvm.create_mcjit_compiler

    def make_roughly(module: Any, machine: Any, **more: Any) -> Any:
        rough = llvm.Target.from_triple(machine.triple).create_target_machine(
            cpu=processor(), features=features(), opt=0, reloc="static", codemodel="jitdefault", jit=True
        )
        return make(module, rough, **more)

    llvm.create_mcjit_compiler = make_roughly


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
