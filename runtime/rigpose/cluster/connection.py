"""This process as a member of a Ray cluster, for the time of a job."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rigpose.errors import BackendError, ConfigError, MissingExtraError
from rigpose.sessions.devices import cuda_devices, usable_cores

LOCAL = "local"
"""The word for a cluster that is this machine alone."""
_SECONDS_TO_ANSWER = 5.0
# Ray's head speaks gRPC, which is HTTP/2 (RFC 9113): both sides begin with a frame of settings.
_SETTINGS = b"\x04"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + _SETTINGS + b"\0" * 5


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster while the block runs.

    Args:
        address: ``local``, ``auto`` for the cluster that this machine belongs to, or ``HOST:PORT`` of its head.

    Raises:
        BackendError: Nothing answers there, or it is another version's.
        ConfigError: The address is none.
        MissingExtraError: Ray is not installed.
    """
    # Ray would report its use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            f'Ray, which --cluster needs, is missing ({error}); pip install "rigpose[cluster]".'
        ) from error
    how: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == LOCAL:
        how |= {"num_cpus": usable_cores(), "num_gpus": cuda_devices(), "include_dashboard": False}
    else:
        _check_answers(address)
    try:
        ray.init(address=address, **how)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise BackendError(
            f"cluster {address}: Ray cannot join it ({_one_line(error)}); run the command on one of its machines, with "
            "the same versions of Ray and Python as there."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Find out within seconds what Ray would find out within minutes."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise ConfigError(
            f"cluster {address!r}: is no address; give HOST:PORT as ray start --head prints it, auto on one of its "
            "machines, or local for this machine alone."
        )
    try:
        with socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER) as line:
            line.sendall(_GREETING)
            answer = line.recv(9)
    except (OSError, OverflowError) as error:
        raise BackendError(
            f"cluster {address}: nothing answers there ({error}); start it with ray start --head --port={port} on "
            f"{host}, or see that this machine reaches it."
        ) from error
    if answer[3:4] != _SETTINGS:
        raise BackendError(
            f"cluster {address}: what answers there is not Ray; give the port that ray start --head printed."
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(". ")
