"""Carries connections from the laboratory's network to a server on this machine, whose own network it does not touch.

Run as `python -m forewarn.lab.libvirt.relay NAMESPACE ADDRESS PORT SERVER_PORT`: it listens at ADDRESS and PORT within
the network namespace at the path NAMESPACE, and connects each caller to SERVER_PORT on the loopback of this machine.
"""

import ctypes
import os
import selectors
import socket
import socketserver
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
OWN = Path("/proc/self/ns/net")
CHUNK = 1 << 16


class Relay(socketserver.ThreadingTCPServer):
    """Listens where it was made; each connection is carried to `server_port`."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: str, port: int, server_port: int) -> None:
        self.server_port = server_port
        super().__init__((address, port), _Carry)


class _Carry(socketserver.BaseRequestHandler):
    """One connection and its other end."""

    server: Relay

    def handle(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.server.server_port), 10.0) as other:
                other.settimeout(None)
                _both_ways(self.request, other)
        except OSError:
            return  # either end is gone, and so is the connection


def _both_ways(one: socket.socket, other: socket.socket) -> None:
    """Carry what either end sends to the other until one of them ends."""
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, (one, other))
        ready.register(other, selectors.EVENT_READ, (other, one))
        while True:
            for key, _ in ready.select():
                source, target = key.data
                sent = source.recv(CHUNK)
                if not sent:
                    return
                target.sendall(sent)


@contextmanager
def within(namespace: Path) -> Iterator[None]:
    """Sockets made within belong to that network namespace; this thread comes back to its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    with OWN.open() as own, namespace.open() as there:
        _enter(libc, there.fileno())
        try:
            yield
        finally:
            _enter(libc, own.fileno())


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(namespace: str, address: str, port: str, server_port: str) -> None:
    """Serve until this process is ended."""
    with within(Path(namespace)):
        relay = Relay(address, int(port), int(server_port))
    with relay:
        relay.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
