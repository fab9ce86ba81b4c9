"""Work on a dask cluster, by joblib."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from mer.errors import ParameterError

_SCHEDULER_SECONDS = 20
"""After which a dask scheduler is taken to be absent."""


@contextmanager
def on_cluster(cluster: str | None) -> Iterator[None]:
    """Have joblib use the workers of a dask scheduler; processes of this machine if None.

    Raises
    ------
    ParameterError
        If no scheduler answers at that address.
    """
    if cluster is None:
        yield
        return
    from dask.distributed import Client
    from joblib import parallel_config

    try:
        with ThreadPoolExecutor(1) as thread:  # this one may run a loop of its own, in Jupyter
            greeting = asyncio.wait_for(_greet(cluster), _SCHEDULER_SECONDS)
            thread.submit(asyncio.run, greeting).result()
    except (OSError, ValueError, TypeError, TimeoutError) as error:
        reason = str(error) or f"nothing came back within {_SCHEDULER_SECONDS} s"
        raise ParameterError(f"no dask scheduler answers at {cluster!r}: {reason}") from None
    client = Client(cluster)
    with client, parallel_config(backend="dask"):
        yield


async def _greet(address: str) -> None:
    """Shake hands with a scheduler; `Client` waits for one that is silent without a limit."""
    from distributed.comm import connect

    comm = await connect(address, timeout=_SCHEDULER_SECONDS)
    await comm.close()
