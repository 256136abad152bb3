# Microbenchmarks: products of matrices, copies and idling on the machine itself, with a meter where there is one.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""A short set of microbenchmarks, which measures what a machine's constants are fitted to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from macsim.errors import RequestError
from macsim.meters import Meter, measured

__all__ = ["microbenchmarks"]

CPU_SIDES = (64, 128, 256, 512, 1024, 2048)
GPU_SIDES = (256, 512, 1024, 2048, 4096, 8192)
CPU_BYTES = (2**16, 2**20, 2**24, 2**27)
GPU_BYTES = (2**20, 2**24, 2**28, 2**31)


def microbenchmarks(
    device: str = "cpu",
    meter: Meter | None = None,
    *,
    each: float = 0.5,
    dtype: str | None = None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, str]]:
    """Yield measurements of the machine itself, in the form that `cases_of` takes.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        ``cpu`` takes numpy, ``cuda`` torch.
    meter : Meter, optional
        Without one, only times are measured.
    each : float
        Seconds of each measurement: counters need some to be exact.
    dtype : str, optional
        Of the products: by default f32 on CPUs and bf16 on GPUs.
    clock, sleep : callable
        What tells the time, and what waits.

    Examples
    --------
    >>> first = next(microbenchmarks(each=0.01))
    >>> first["model"], first["shape"], float(first["seconds"]) > 0, first["joules"]
    ('matmul', '64x64x64', True, '')
    """
    if device not in ("cpu", "cuda"):
        raise RequestError(f'a device is "cpu" or "cuda", not {device!r}')
    name = dtype or ("f32" if device == "cpu" else "bf16")
    products, copies, wait = _numpy(name) if device == "cpu" else _torch(name)
    for sides, make in (
        (CPU_SIDES if device == "cpu" else GPU_SIDES, products),
        (CPU_BYTES if device == "cpu" else GPU_BYTES, copies),
    ):
        for size in sides:
            seconds, joules = _timed(make(size), wait, meter, each, clock)
            shape = f"{size}x{size}x{size}" if make is products else str(size)
            model = "matmul" if make is products else "copy"
            yield _row(model, shape, name, seconds, joules)
    if meter is not None:
        with measured(meter, clock) as reading:
            sleep(4 * each)
        yield _row("idle", "", "", reading.seconds, reading.joules)


def _row(model: str, shape: str, dtype: str, seconds: float, joules: float | None) -> dict[str, str]:
    said = "" if joules is None or joules <= 0 else f"{joules:.6g}"
    return {"model": model, "shape": shape, "dtype": dtype, "seconds": f"{seconds:.6g}", "joules": said}


def _timed(
    run: Callable[[], Any], wait: Callable[[], Any], meter: Meter | None, each: float, clock: Callable[[], float]
) -> tuple[float, float | None]:
    """Run something for some seconds, and return what one run takes."""
    run()
    wait()
    count, batch = 0, 1
    with measured(meter, clock) as reading:
        start = clock()
        while (passed := clock() - start) < each:
            for _ in range(batch):
                run()
            count += batch
            if passed < each / 8:
                batch *= 2
        wait()
    return reading.seconds / count, None if reading.joules is None else reading.joules / count


def _numpy(
    dtype: str,
) -> tuple[Callable[[int], Callable[[], Any]], Callable[[int], Callable[[], Any]], Callable[[], Any]]:
    import numpy as np

    kinds = {"f32": np.float32, "f64": np.float64}
    if dtype not in kinds:
        raise RequestError(f"numpy multiplies f32 and f64, not {dtype}")

    def product(side: int) -> Callable[[], Any]:
        a, out = np.ones((side, side), kinds[dtype]), np.empty((side, side), kinds[dtype])
        return lambda: np.matmul(a, a, out=out)

    def copy(size: int) -> Callable[[], Any]:
        a, b = np.ones(size, np.uint8), np.empty(size, np.uint8)
        return lambda: np.copyto(b, a)

    return product, copy, lambda: None


def _torch(
    dtype: str,
) -> tuple[Callable[[int], Callable[[], Any]], Callable[[int], Callable[[], Any]], Callable[[], Any]]:
    import torch

    if not torch.cuda.is_available():
        raise RequestError("torch finds no GPU here")
    kinds = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32, "f64": torch.float64}
    if dtype not in kinds:
        raise RequestError(f"products are of {', '.join(kinds)}, not of {dtype}")

    def product(side: int) -> Callable[[], Any]:
        a = torch.randn((side, side), device="cuda").to(kinds[dtype])
        out = torch.empty_like(a)
        return lambda: torch.matmul(a, a, out=out)

    def copy(size: int) -> Callable[[], Any]:
        a = torch.ones(size, dtype=torch.uint8, device="cuda")
        b = torch.empty_like(a)
        return lambda: b.copy_(a)

    return product, copy, torch.cuda.synchronize
