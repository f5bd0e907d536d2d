"""What the kernels are made of: pointers, tiles of a matrix product in vector registers, exponentials.

Numba turns these functions into machine code; LLVM vectorises their loops. A tile is written in LLVM's
vectors, since no loop of numba's keeps a block of sums in registers. Sums run in one order whatever the
number of rows, so that a row's bits depend on that row alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils

from runners.kernels.library import lanes

LANES = lanes() or 16
"""Numbers of a vector: 16 with AVX-512, 8 with AVX2."""
TALL = 8 if LANES == 16 else 4
"""Rows of the largest tile: with two vectors across, sums fill half of the registers."""
WIDE = 2 * LANES
DEEP = 64
"""Terms of a sum that are added up in registers before they go to memory: a longer chain would round more,
and a panel of so many stays in the first cache."""
HIGH = 64
"""Rows of a block of the left matrix that is copied together: DEEP terms of each stay in the first cache."""
FAR = 1024
"""Numbers from one row to the next from which every row has its own page: such share places in a cache."""
NOTHING = np.float32(-1e30)
"""The logit of a column that is no class."""

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
P32 = types.CPointer(types.float32)
P64 = types.CPointer(types.float64)
PI = types.CPointer(types.int64)
intrinsic: Any = extending.intrinsic
inlined = njit(forceinline=True, error_model="numpy", fastmath={"contract"})
kept = njit(error_model="numpy", fastmath={"contract"})


@intrinsic
def at(typing: Any, pointer: Any, index: Any) -> Any:
    """pointer + index entries."""
    signature = pointer(pointer, types.intp)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return signature, build


@intrinsic
def floats(typing: Any, arguments: Any, index: Any) -> Any:
    """The float32 numbers whose address is entry ``index`` of the arguments."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.load(builder.gep(args[0], [args[1]]))
        return builder.inttoptr(address, F32.as_pointer())

    return P32(PI, types.intp), build


@intrinsic
def doubles(typing: Any, arguments: Any, index: Any) -> Any:
    """The float64 numbers whose address is entry ``index`` of the arguments."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.load(builder.gep(args[0], [args[1]]))
        return builder.inttoptr(address, ir.DoubleType().as_pointer())

    return P64(PI, types.intp), build


@intrinsic
def integers(typing: Any, arguments: Any, index: Any) -> Any:
    """The int64 numbers whose address is entry ``index`` of the arguments."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.load(builder.gep(args[0], [args[1]]))
        return builder.inttoptr(address, I64.as_pointer())

    return PI(PI, types.intp), build


def _own(count: int) -> Any:
    """Make a function that gives ``count`` float32 numbers of its caller's own stack."""

    @intrinsic
    def own(typing: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            with builder.goto_entry_block():  # numba's own alloca_once would write zeros at every call
                place = builder.alloca(ir.ArrayType(F32, count))
                place.align = 64
            return builder.bitcast(place, F32.as_pointer())

        return P32(), build

    return own


own_block = _own(HIGH * DEEP)


def _tile(rows: int, vectors: int, part: bool = False) -> Any:
    """Build the product of ``rows`` rows of a with ``vectors`` vectors' width of b, into c or added to it;
    with ``part`` one vector, of which ``lanes`` columns alone are read and written.
    """

    @intrinsic
    def tile(
        typing: Any, a: Any, a_row: Any, a_k: Any, b: Any, b_k: Any, c: Any, c_row: Any, k: Any, add: Any,
        lanes: Any,
    ) -> Any:  # fmt: skip
        n = types.intp
        signature = types.void(P32, n, n, P32, n, P32, n, n, n, n)

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _build_tile(builder, rows, vectors, part, args)
            return context.get_dummy_value()

        return signature, build

    return tile


class _Vectors:
    """Whole vectors of memory, or the first ``lanes`` numbers of each."""

    def __init__(self, builder: Any, lanes: Any) -> None:
        self._builder = builder
        self._whole = lanes is None
        if lanes is None:
            return
        wide, flags = ir.VectorType(F32, LANES), ir.VectorType(ir.IntType(1), LANES)
        pointer, named = wide.as_pointer(), f"v{LANES}f32.p0"
        places, first = ir.VectorType(I32, LANES), ir.Constant(I32, 0)
        empty = ir.Constant(places, ir.Undefined)
        count = builder.insert_element(empty, builder.trunc(lanes, I32), first)
        every = builder.shuffle_vector(count, empty, ir.Constant(places, [0] * LANES))
        self._mask = builder.icmp_signed("<", ir.Constant(places, list(range(LANES))), every)
        self._align, self._zeros = ir.Constant(I32, 4), ir.Constant(wide, [0.0] * LANES)
        reading = ir.FunctionType(wide, [pointer, I32, flags, wide])
        writing = ir.FunctionType(ir.VoidType(), [wide, pointer, I32, flags])
        self._load = cgutils.get_or_insert_function(builder.module, reading, f"llvm.masked.load.{named}")
        self._store = cgutils.get_or_insert_function(builder.module, writing, f"llvm.masked.store.{named}")

    def load(self, place: Any) -> Any:
        if self._whole:
            return self._builder.load(place, align=4)
        return self._builder.call(self._load, [place, self._align, self._mask, self._zeros])

    def store(self, value: Any, place: Any) -> None:
        if self._whole:
            self._builder.store(value, place, align=4)
        else:
            self._builder.call(self._store, [value, place, self._align, self._mask])


# Long: one loop of LLVM's, from its first block to its last.
def _build_tile(builder: Any, rows: int, vectors: int, part: bool, args: Any) -> None:
    a, a_row, a_k, b, b_k, c, c_row, k, add, lanes = args
    wide = ir.VectorType(F32, LANES)
    empty, zeros = ir.Constant(wide, ir.Undefined), ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
    memory = _Vectors(builder, lanes if part else None)
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(wide, [wide] * 3), f"llvm.fma.v{LANES}f32"
    )

    def vector_at(base: Any, offset: Any) -> Any:
        return builder.bitcast(builder.gep(base, [offset]), wide.as_pointer())

    def number(n: int) -> Any:
        return ir.Constant(I64, n)

    # Told that these are multiples of one number, LLVM would add it once for each row, each after the other,
    # for every term: a chain as long as the products take. The empty assembly hides it.
    odd = {
        r: builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [builder.mul(number(r), a_row)], False)
        for r in range(1, rows, 2)
    }

    def rows_down(r: int) -> Any:
        twice = (r & -r).bit_length() - 1 if r else 0
        return builder.shl(odd[r >> twice], number(twice)) if r else number(0)

    places = [
        vector_at(c, builder.add(builder.mul(number(r), c_row), number(v * LANES)))
        for r in range(rows)
        for v in range(vectors)
    ]
    a_rows = [rows_down(r) for r in range(rows)]
    before = builder.block
    loop, ended, adding, done = (builder.append_basic_block(n) for n in ("loop", "ended", "adding", "done"))
    builder.branch(loop)
    builder.position_at_end(loop)
    i = builder.phi(I64)
    i.add_incoming(number(0), before)
    sums = []
    for _ in places:
        s = builder.phi(wide)
        s.add_incoming(ir.Constant(wide, [0.0] * LANES), before)
        sums.append(s)
    b_at, a_terms = builder.mul(i, b_k), builder.gep(a, [builder.mul(i, a_k)])
    across = [memory.load(vector_at(b, builder.add(b_at, number(v * LANES)))) for v in range(vectors)]
    made: list[Any] = []
    held: list[tuple[Any, Any]] = []
    for r in range(rows):
        scalar = builder.load(builder.gep(a_terms, [a_rows[r]]), align=4)
        one = builder.insert_element(empty, scalar, ir.Constant(I32, 0))
        spread = builder.shuffle_vector(one, empty, zeros)
        made += [builder.call(fma, [spread, across[v], sums[r * vectors + v]]) for v in range(vectors)]
    following = builder.add(i, number(1))
    i.add_incoming(following, builder.block)
    for s, new in zip(sums, made, strict=True):
        s.add_incoming(new, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, k), loop, ended)
    builder.position_at_end(ended)
    builder.cbranch(builder.icmp_signed("!=", add, number(0)), adding, done)
    # A sum begins at zero and is then added to what stands there: short chains round less than a long one.
    builder.position_at_end(adding)
    total = [builder.fadd(memory.load(p), new) for p, new in zip(places, made, strict=True)]
    builder.branch(done)
    builder.position_at_end(done)
    for place, new, more in zip(places, made, total, strict=True):
        value = builder.phi(wide)
        value.add_incoming(new, ended)
        value.add_incoming(more, adding)
        held.append((value, place))
    for value, place in held:
        memory.store(value, place)


def _down(vectors: int, part: bool = False) -> Any:
    """Make the walk down the rows of a, for columns of one width."""
    tall, two, one = (_tile(rows, vectors, part) for rows in (TALL, 2, 1))

    @inlined
    def down(a, a_row, a_k, b, b_k, c, c_row, m, k, add, lanes):
        row = 0
        while row + TALL <= m:
            tall(at(a, row * a_row), a_row, a_k, b, b_k, at(c, row * c_row), c_row, k, add, lanes)
            row += TALL
        while row + 2 <= m:
            two(at(a, row * a_row), a_row, a_k, b, b_k, at(c, row * c_row), c_row, k, add, lanes)
            row += 2
        if row < m:
            one(at(a, row * a_row), a_row, a_k, b, b_k, at(c, row * c_row), c_row, k, add, lanes)

    return down


down_wide, down_slim, down_part = _down(2), _down(1), _down(1, part=True)


@inlined
def _across(a, a_row, a_k, b, b_k, b_panel, c, c_row, m, n, k, add):
    """c [m, n] = (or +=) a [m, k] times b [k, n] for up to DEEP terms, panel after panel of b."""
    for column in range(0, n, WIDE):
        panel = at(b, (column // WIDE) * b_panel)
        out, left = at(c, column), n - column
        if left >= WIDE:
            down_wide(a, a_row, a_k, panel, b_k, out, c_row, m, k, add, LANES)
            continue
        if left >= LANES:
            down_slim(a, a_row, a_k, panel, b_k, out, c_row, m, k, add, LANES)
            panel, out, left = at(panel, LANES), at(out, LANES), left - LANES
        if left > 0:
            down_part(a, a_row, a_k, panel, b_k, out, c_row, m, k, add, left)


@inlined
def _together(a, a_row, a_k, rows, terms, out):
    """Copy rows x terms of a. What is contiguous there, a row's terms or a term's rows, stays so."""
    if a_k == 1:
        for r in range(rows):
            row, into = at(a, r * a_row), at(out, r * DEEP)
            for i in range(terms):
                into[i] = row[i]
    else:
        for i in range(terms):
            column, into = at(a, i * a_k), at(out, i * HIGH)
            for r in range(rows):
                into[r] = column[r]


@njit(
    types.void(P32, types.intp, types.intp, P32, types.intp, types.intp, P32, *[types.intp] * 5),
    error_model="numpy",
)
def gemm(a, a_row, a_k, b, b_k, b_panel, c, c_row, m, n, k, add):
    """c [m, n] = (or +=, with add = 1) a [m, k] times b [k, n].

    Row r of a begins at ``a + r a_row``, its terms are ``a_k`` apart; one of the two is 1. Rows of b are
    ``b_k`` apart, and a panel of WIDE columns begins every ``b_panel``. Nothing beside the n columns is read
    or written.
    """
    # Many panels go over a again and again: blocks of it, copied together, stay in the first cache.
    together = n > 2 * WIDE and (m > HIGH or a_row >= FAR or a_k >= FAR)
    high = HIGH if together else m
    block = own_block()
    top = 0
    while top < m:
        rows = high if m - top > high else m - top
        for first in range(0, k, DEEP):
            deep = DEEP if k - first > DEEP else k - first
            terms, row, term = at(a, top * a_row + first * a_k), a_row, a_k
            if together:
                _together(terms, a_row, a_k, rows, deep, block)
                terms, row, term = block, DEEP if a_k == 1 else 1, 1 if a_k == 1 else HIGH
            more = 1 if add != 0 or first > 0 else 0
            _across(
                terms, row, term, at(b, first * b_k), b_k, b_panel,
                at(c, top * c_row), c_row, rows, n, deep, more,
            )  # fmt: skip
        top += rows


@intrinsic
def transpose_tile(typing: Any, x: Any, x_row: Any, out: Any, out_row: Any) -> Any:
    """out = the transpose of LANES x LANES entries of x; rows are so far apart."""
    signature = types.void(P32, types.intp, P32, types.intp)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _build_transpose(builder, args)
        return context.get_dummy_value()

    return signature, build


def _build_transpose(builder: Any, args: Any) -> None:
    """Exchange the halves of pairs of rows, then quarters, and so on."""
    x, x_row, out, out_row = args
    wide, chosen = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)

    def place(base: Any, row: Any, r: int) -> Any:
        return builder.bitcast(builder.gep(base, [builder.mul(ir.Constant(I64, r), row)]), wide.as_pointer())

    rows = [builder.load(place(x, x_row, r), align=4) for r in range(LANES)]
    step = 1
    while step < LANES:
        upper = [lane if not lane & step else LANES + lane - step for lane in range(LANES)]
        lower = [lane + step if not lane & step else LANES + lane for lane in range(LANES)]
        for r in range(LANES):
            if not r & step:
                one, other = rows[r], rows[r + step]
                rows[r] = builder.shuffle_vector(one, other, ir.Constant(chosen, upper))
                rows[r + step] = builder.shuffle_vector(one, other, ir.Constant(chosen, lower))
        step *= 2
    for r in range(LANES):
        builder.store(rows[r], place(out, out_row, r), align=4)


@kept
def pack(x, rows, columns, x_row, out):
    """x [rows, columns] in panels of WIDE columns: [columns / WIDE, rows, WIDE].

    The entries of panel p begin at ``p WIDE rows``, its rows are WIDE apart.
    """
    for first in range(0, columns, WIDE):
        width = WIDE if columns - first >= WIDE else columns - first
        panel = at(out, first * rows)
        for r in range(rows):
            row, into = at(x, r * x_row + first), at(panel, r * WIDE)
            for i in range(width):
                into[i] = row[i]


@kept
def pack_transposed(x, rows, columns, out):
    """x [rows, columns] -> its transpose in panels of WIDE: [rows / WIDE, columns, WIDE].

    The entries of panel p begin at ``p WIDE columns``, its rows are WIDE apart.
    """
    for first in range(0, rows, LANES):
        panel = at(out, (first // WIDE) * WIDE * columns + first % WIDE)
        height = LANES if rows - first >= LANES else rows - first
        for c in range(0, columns, LANES):
            some, into = at(x, first * columns + c), at(panel, c * WIDE)
            width = LANES if columns - c >= LANES else columns - c
            if height == LANES and width == LANES:
                transpose_tile(some, columns, into, WIDE)
            else:
                for r in range(height):
                    for i in range(width):
                        into[i * WIDE + r] = some[r * columns + i]


@kept
def gemm_packing(a, a_row, a_k, b, b_row, c, c_row, m, n, k, panels):
    """c [m, n] += a [m, k] times b [k, n], whose rows are ``b_row`` apart; ``panels`` takes b in panels."""
    pack(b, k, n, b_row, panels)
    gemm(a, a_row, a_k, panels, WIDE, WIDE * k, c, c_row, m, n, k, 1)


@kept
def zero(x, n):
    for i in range(n):
        x[i] = np.float32(0.0)


@kept
def copy(x, n, out):
    for i in range(n):
        out[i] = x[i]


@kept
def take(x, index, count, d, out):
    """out [count, d] = the rows of x that index names."""
    for i in range(count):
        row, into = at(x, index[i] * d), at(out, i * d)
        for j in range(d):
            into[j] = row[j]


@kept
def fill_rows(x, rows, n, x_row, values):
    """Every row of x = values [n]."""
    for r in range(rows):
        row = at(x, r * x_row)
        for j in range(n):
            row[j] = values[j]


@kept
def add_rows(x, rows, n, x_row, total):
    """total [n] += the sum of the rows of x."""
    for r in range(rows):
        row = at(x, r * x_row)
        for j in range(n):
            total[j] += row[j]


reduced = njit(forceinline=True, error_model="numpy", fastmath={"contract", "reassoc"})
"""Sums in vectors of partial sums: their order depends on the length alone."""


@reduced
def total_of(x, n):
    total = np.float32(0.0)
    for j in range(n):
        total += x[j]
    return total


@reduced
def dot(x, y, n):
    total = np.float32(0.0)
    for j in range(n):
        total += x[j] * y[j]
    return total


@kept
def transpose_padded(x, rows, columns, out, wide):
    """x [rows, columns] -> out [columns, wide], zeros to the right."""
    for c in range(columns):
        for r in range(rows):
            out[c * wide + r] = x[r * columns + c]
        for r in range(rows, wide):
            out[c * wide + r] = np.float32(0.0)


def _on_bits(build: Any) -> Any:
    """A function float32 -> float32, made of instructions on the bits of a number."""

    @intrinsic
    def on_bits(typing: Any, x: Any) -> Any:
        def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return build(builder, builder.bitcast(args[0], I32))

        return types.float32(types.float32), made

    return on_bits


def _i32(value: int) -> Any:
    return ir.Constant(I32, value)


SPLIT = 0x3F3504F3
"""The bits of sqrt(1/2): a number is taken apart so that its mantissa lies between that and twice as much."""


def _power(builder: Any, bits: Any) -> Any:
    return builder.bitcast(builder.add(builder.shl(bits, _i32(23)), _i32(127 << 23)), F32)


def _exponent(builder: Any, bits: Any) -> Any:
    return builder.sitofp(builder.ashr(builder.sub(bits, _i32(SPLIT)), _i32(23)), F32)


def _mantissa(builder: Any, bits: Any) -> Any:
    low = builder.and_(builder.sub(bits, _i32(SPLIT)), _i32(0x007FFFFF))
    return builder.bitcast(builder.add(low, _i32(SPLIT)), F32)


power = _on_bits(_power)
"""2^n, n being what stands in the lowest bits."""
exponent, mantissa = _on_bits(_exponent), _on_bits(_mantissa)


@inlined
def exp(x):
    """e^x by Cephes' polynomial of degree seven, within [-87.3, 88.3]; NaN stays NaN."""
    x = np.float32(-87.3) if x < np.float32(-87.3) else x
    x = np.float32(88.3) if x > np.float32(88.3) else x
    # Adding 1.5 2^23 rounds to an integer, which then stands in the lowest bits.
    rounded = x * np.float32(1.44269504) + np.float32(12582912.0)
    n = rounded - np.float32(12582912.0)
    r = x - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * (r * r) + r + np.float32(1.0)
    return p * power(rounded)


@inlined
def sigmoid(x):
    return np.float32(1.0) / (np.float32(1.0) + exp(-x))


@inlined
def tanh(x):
    """Tanh by its odd polynomial below 0.625 (Cephes), by e^-2|x| above."""
    z = x * x
    p = np.float32(-5.70498872745e-3)
    p = p * z + np.float32(2.06390887954e-2)
    p = p * z + np.float32(-5.37397155531e-2)
    p = p * z + np.float32(1.33314422036e-1)
    p = p * z + np.float32(-3.33332819422e-1)
    small = p * z * x + x
    positive = x if x >= np.float32(0.0) else -x
    e = exp(np.float32(-2.0) * positive)
    large = (np.float32(1.0) - e) / (np.float32(1.0) + e)
    large = large if x >= np.float32(0.0) else -large
    return small if z < np.float32(0.390625) else large


@inlined
def log(x):
    """Natural logarithm of a normal positive number (Cephes)."""
    n = exponent(x)
    f = mantissa(x) - np.float32(1.0)
    z = f * f
    p = np.float32(7.0376836292e-2)
    p = p * f + np.float32(-1.1514610310e-1)
    p = p * f + np.float32(1.1676998740e-1)
    p = p * f + np.float32(-1.2420140846e-1)
    p = p * f + np.float32(1.4249322787e-1)
    p = p * f + np.float32(-1.6668057665e-1)
    p = p * f + np.float32(2.0000714765e-1)
    p = p * f + np.float32(-2.4999993993e-1)
    p = p * f + np.float32(3.3333331174e-1)
    p = p * f * z + n * np.float32(-2.12194440e-4) - np.float32(0.5) * z
    return f + p + n * np.float32(0.693359375)


@inlined
def log1p(x):
    """log(1 + x) for x in [0, 1], small ones too: what 1 + x rounds away is put back."""
    u = np.float32(1.0) + x
    return x if u == np.float32(1.0) else log(u) * (x / (u - np.float32(1.0)))


@inlined
def _quarter(x):
    """The nearest multiple of pi/2 modulo four (0, 1, 2 or 3), and x less that multiple."""
    n = x * np.float32(0.63661977) + np.float32(12582912.0) - np.float32(12582912.0)
    r = x - n * np.float32(1.5703125)
    r = r - n * np.float32(4.837512969970703e-4)
    r = r - n * np.float32(7.54978995489188e-8)
    # For the whole number n this is n / 4 rounded down.
    down = n * np.float32(0.25) - np.float32(0.375) + np.float32(12582912.0) - np.float32(12582912.0)
    return n - np.float32(4.0) * down, r


@inlined
def _sine_near(r):
    z = r * r
    p = np.float32(-1.9515295891e-4)
    p = p * z + np.float32(8.3321608736e-3)
    p = p * z + np.float32(-1.6666654611e-1)
    return p * z * r + r


@inlined
def _cosine_near(r):
    z = r * r
    p = np.float32(2.443315711809948e-5)
    p = p * z + np.float32(-1.388731625493765e-3)
    p = p * z + np.float32(4.166664568298827e-2)
    return p * (z * z) - np.float32(0.5) * z + np.float32(1.0)


@inlined
def sine(x):
    """Sin by Cephes' polynomials on [-pi/4, pi/4]; digits are lost from some ten thousand turns on."""
    q, r = _quarter(x)
    odd = (q == np.float32(1.0)) | (q == np.float32(3.0))
    value = _cosine_near(r) if odd else _sine_near(r)
    return -value if q >= np.float32(2.0) else value


@inlined
def cosine(x):
    q, r = _quarter(x)
    odd = (q == np.float32(1.0)) | (q == np.float32(3.0))
    value = _sine_near(r) if odd else _cosine_near(r)
    return -value if (q == np.float32(1.0)) | (q == np.float32(2.0)) else value
