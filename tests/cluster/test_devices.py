"""Which devices a cluster has, and what is said where it cannot be reached or is another one's."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rigpose.cluster.connection import connected
from rigpose.cluster.devices import ClusterDevice, check_device_word, devices_of
from rigpose.cluster.software import difference, software
from rigpose.errors import BackendError, ConfigError


def _node(name: str, host: str, *, cores: float = 0, gpus: float = 0, alive: bool = True) -> dict[str, Any]:
    resources = {kind: count for kind, count in (("CPU", cores), ("GPU", gpus)) if count}
    return {"NodeID": name, "NodeManagerHostname": host, "Alive": alive, "Resources": resources}


NODES = [
    _node("b1", "fast", cores=32, gpus=4),
    _node("a1", "plain", cores=16),
    _node("c1", "head"),
    _node("d1", "gone", cores=8, gpus=1, alive=False),
]


def test_every_gpu_and_every_machine_without_one_is_a_device() -> None:
    found = devices_of(NODES, "auto")
    assert found == [
        *(ClusterDevice("b1", gpu, 8, f"fast GPU {gpu}") for gpu in range(4)),
        ClusterDevice("a1", None, 16, "plain"),
    ]
    assert [device.word for device in found] == ["cuda:0"] * 4 + ["cpu"]


def test_a_word_chooses_among_them() -> None:
    assert [device.name for device in devices_of(NODES, "cuda")] == [f"fast GPU {gpu}" for gpu in range(4)]
    assert devices_of(NODES, "cpu") == [ClusterDevice("b1", None, 32, "fast"), ClusterDevice("a1", None, 16, "plain")]


def test_two_nodes_of_one_machine_have_two_names() -> None:
    twice = [_node("1234567", "rig", cores=1), _node("abcdefg", "rig", cores=1)]
    assert [device.name for device in devices_of(twice, "auto")] == ["rig (1234)", "rig (abcd)"]


@pytest.mark.parametrize("word", ["cuda:1", "gpu", "tpu"])
def test_one_of_many_gpus_cannot_be_asked_for(word: str) -> None:
    with pytest.raises(ConfigError, match=f"device .?{word}"):
        check_device_word(word)


def test_what_differs_is_named() -> None:
    here = software()
    assert difference(here, dict(here)) == ""
    assert difference(here, here | {"OpenCV": "1.0"}) == f"OpenCV 1.0 in place of {here['OpenCV']}"
    assert difference(here | {"PyAV": "9"}, here | {"PyAV": ""}) == "PyAV missing in place of 9"
    assert difference(here | {"PyAV": ""}, here | {"PyAV": "9"}) == "PyAV 9 in place of none"


def test_a_cluster_that_does_not_answer_is_one_sentence() -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Nobody listens at a port that is only bound.
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BackendError, match=f"cluster {address}: nothing answers there"), connected(address):
            pytest.fail("there is no cluster")


def test_something_else_that_answers_is_one_sentence() -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        with ThreadPoolExecutor(1) as pool:
            pool.submit(answer)
            said = f"cluster {address}: what answers there is not Ray"
            with pytest.raises(BackendError, match=said), connected(address):
                pytest.fail("there is no cluster")


@pytest.mark.parametrize("address", ["somewhere", "ray://head:10001", "head:"])
def test_an_address_that_is_none_is_one_sentence(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="is no address; give HOST:PORT"), connected(address):
        pytest.fail("there is no cluster")
