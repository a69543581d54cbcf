"""The workers of a Dask cluster, and the scheduler that one asks."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from predict_diff.errors import ConfigurationError, NetworkError, PredictDiffError

from .progress import counted

logger = logging.getLogger(__name__)

#: Seconds to wait for a scheduler when a run starts, and for one that has been there before.
_CONNECT, _PATIENCE = 15.0, 600.0

#: Seconds to wait for a result that is on its way.
_FETCH = 60.0

#: What workers of this machine do first: Ctrl-C is for the one that asks them.
_DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"

#: One task at a time in a process: sessions and buffers are its own.
_one = threading.Lock()


class Workers:
    """Hands functions to workers, and tells apart what they raise from workers that are lost.

    Parameters
    ----------
    address : str
        Of the scheduler.
    gpus : sequence of int
        Numbers of GPUs, one for each worker; they are numbered in their order.
    threads : int, optional
        On which each worker runs its networks; by default as many as there are cores.

    Raises
    ------
    ConfigurationError
        If there is no scheduler, or another program answers.
    """

    def __init__(self, address: str, gpus: Sequence[int] = (), threads: int | None = None) -> None:
        self._address, self._placing = address, (tuple(gpus), threads)
        self._client = _client(address, _CONNECT)

    def submit(self, function: Callable[..., Any], job: Any, *arguments: Any) -> Any:
        """Have a worker call a function with a job and whatever else; the future of it."""
        return self._client.submit(_call, function, job, arguments, self._placing, pure=False)

    def result(self, future: Any) -> Any:
        """What a function gave, or the PredictDiffError that it raised; None if its worker, or the result, was lost."""
        from distributed import KilledWorker

        if future.cancelled():
            return None
        try:
            return future.result(timeout=_FETCH)
        except PredictDiffError as error:
            return error
        except (KilledWorker, OSError, TimeoutError):
            return None
        except Exception as error:
            return NetworkError(
                f"worker: expected a result, found {type(error).__name__}: {' '.join(str(error).split())}; install the "
                f"same version of this program there"
            )

    def threads(self) -> int:
        """How many tasks the workers can do at a time. OSError if the scheduler is gone."""
        if self._client.status != "running":
            raise OSError("no connection")
        return sum(self._client.nthreads().values())

    def cancel(self, futures: Iterable[Any]) -> None:
        """Nobody waits for these any more."""
        if self._client.status == "running":
            self._client.cancel(list(futures))

    def reconnect(self) -> None:
        """Wait for the scheduler to come back. NetworkError if it does not."""
        self._client.close(timeout=1)
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self._client = _client(self._address, _CONNECT)
                return
            except ConfigurationError as problem:
                if time.monotonic() > end:
                    raise NetworkError(
                        f"{self._address}: expected the scheduler to come back within {_PATIENCE:.0f} s, found none; "
                        f"start it again, and the same command goes on from there"
                    ) from problem

    def close(self) -> None:
        self._client.close(timeout=5)


@contextmanager
def open_workers(address: str, gpus: Sequence[int] = (), threads: int | None = None) -> Iterator[Workers]:
    """Workers at an address, or started here.

    Parameters
    ----------
    address : str
        Of a scheduler, or ``local:N`` to start N workers on this machine.
    gpus : sequence of int
        Numbers of GPUs, one for each of ``local:N``.
    threads : int, optional
        On which each worker runs its networks. Default: those of ``local:N`` share the cores.

    Raises
    ------
    ConfigurationError
        If Dask is not installed, N is impossible, or there is no scheduler.
    """
    try:
        from distributed import LocalCluster
    except ImportError as problem:
        raise ConfigurationError(
            "dask: expected Dask, which is not installed; run `pip install '.[cluster]'` in the project's folder"
        ) from problem
    kind, _, count = address.partition(":")
    if kind != "local":
        if gpus:
            raise ConfigurationError(
                "gpus: expected none with a scheduler's address, found some; let each worker see one GPU only"
            )
        workers = Workers(address, (), threads)
        try:
            yield workers
        finally:
            workers.close()
        return
    number = local_workers(count)
    logger.info("Starting %s.", counted(number, "worker"))
    with _deaf_loop() as loop:
        cluster = LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            memory_limit=0,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=logging.CRITICAL,
            preload=[_DEAF],
            loop=loop,
        )
        try:
            workers = Workers(cluster.scheduler_address, gpus, threads or max(1, (os.cpu_count() or 1) // number))
            try:
                yield workers
            finally:
                workers.close()
        finally:
            cluster.close(timeout=5)


@contextmanager
def _deaf_loop() -> Iterator[Any]:
    """What starts workers: from their first moment, long before `_DEAF`, Ctrl-C does not reach them.

    A process, and a thread, begins with the signals blocked that were blocked where it was started.
    """
    from distributed.utils import LoopRunner

    runner = LoopRunner()
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        resource_tracker.ensure_running()  # else the first worker starts it, which unblocks them
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            runner.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    else:
        runner.start()
    try:
        yield runner.loop
    finally:
        runner.stop()


def local_workers(count: str) -> int:
    """N of ``local:N``."""
    most = 4 * (os.cpu_count() or 1)
    if not (count.isdecimal() and len(count) < 6 and 1 <= int(count) <= most):
        raise ConfigurationError(
            f"dask: expected local:1 to local:{most}, or the address of a scheduler such as tcp://host:8786, found "
            f"'local:{count}'"
        )
    return int(count)


def _client(address: str, timeout: float) -> Any:
    from distributed import Client

    try:
        _check(address)
        return Client(address, timeout=timeout, set_as_default=False)
    except (OSError, TimeoutError, ValueError, ImportError) as problem:
        reason = " ".join(str(problem).split())
        raise ConfigurationError(
            f"dask: expected a scheduler at {address}, found none ({reason}); start one with `dask scheduler`, or say "
            f"local:N"
        ) from problem


def _check(address: str) -> None:
    """ValueError for an address that no client can even try: it would hang when the program ends."""
    from distributed.comm.addressing import get_address_host_port, parse_address
    from distributed.security import Security

    get_address_host_port(address)
    encrypted = parse_address(address)[0] in ("tls", "wss")
    if encrypted and Security().get_connection_args("client").get("ssl_context") is None:
        raise ValueError("no certificates: see distributed.comm.tls in Dask's configuration")


def _call(function: Callable[..., Any], job: Any, arguments: tuple[Any, ...], placing: Any) -> Any:
    """On a worker: one task at a time, on its own GPU and threads."""
    from distributed import get_worker

    gpus, threads = placing
    name = str(get_worker().name)
    gpu = gpus[int(name) % len(gpus)] if gpus and name.isdecimal() else None
    with _one:
        return function(job.placed(gpu, threads), *arguments)
