"""Ports are free, different, and of loopback."""

import socket

from local import ports


def test_ports_are_free_and_different() -> None:
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    assert all(ports.is_free(port) for port in found)
    assert all(ports.FIRST <= port < ports.LAST for port in found)


def test_a_port_somebody_listens_on_is_open_and_not_free() -> None:
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert ports.is_open(port)
        assert not ports.is_free(port)
    assert not ports.is_open(port)
