"""Hosts of a laboratory reach a server on this machine, whose own network they do not see."""

import os
import socketserver
import sys
import threading
from collections.abc import Iterator

import pytest

from forewarn.clock import RealClock
from forewarn.lab.libvirt.laboratory import Laboratory
from forewarn.lab.libvirt.network import SWITCH_ADDRESS
from forewarn.lab.libvirt.processes import spawn
from tests.support import eventually

PORT = 8461
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as asked:
        asked.sendall(socket.gethostname().encode() + bytes([10]))
        print(asked.makefile().readline().strip())
except OSError as error:
    print(error.strerror)
"""


class Answer(socketserver.StreamRequestHandler):
    """Says back what it was told, in capitals."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline().upper())


@pytest.fixture
def server_port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_host_reaches_the_server_through_the_switch_and_nothing_else(
    laboratory: Laboratory, server_port: int
) -> None:
    namespace = f"/proc/{laboratory.switch.number}/ns/net"
    command = [sys.executable, "-m", "forewarn.lab.libvirt.relay", namespace, SWITCH_ADDRESS, str(PORT)]
    relay, stdin = spawn([*command, str(server_port)], laboratory.folder / "relay")
    os.close(stdin)
    laboratory.own(relay)

    def asked(name: str, port: int) -> str:
        return laboratory.host("host02").node.run(sys.executable, "-c", ASK, name, str(port)).strip()

    eventually(lambda: asked("controller", PORT) == "HOST02", deadline=60, every=0.2)
    assert asked("127.0.0.1", server_port) == "Connection refused"
    relay.kill(RealClock())
    assert asked("controller", PORT) == "Connection refused"
