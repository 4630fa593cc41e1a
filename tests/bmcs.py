"""Two BMCs that tests start: OpenIPMI's `ipmi_sim`, asked by IPMI, and `sushy-static`, asked by Redfish.

The first has sensors whose raw values are files that it reads twice a second; thresholds that are crossed and states of
supplies write its event log. The second serves a tree of documents that a test may change at any time.
"""

import base64
import json
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually

USER, PASSWORD, TOKEN = "watcher", "s3cret-Word", "s3cret-Key-"
BMC_ADDRESS = "0x20"
TEMPERATURE, VOLTAGE, CURRENT, FAN, SUPPLY, POWER = 0x01, 0x02, 0x03, 0x04, 0x08, 0x0B
CELSIUS, VOLTS, AMPERES, WATTS, RPM = 1, 4, 5, 6, 18
PROCESSOR, POWER_SUPPLY, COOLING, REDUNDANT = 0x03, 0x0A, 0x1D, 0x13
# Bits of a power supply's state: IPMI 2.0, table 42-3, sensor type 08h.
PRESENT, FAILED, PREDICTED, INPUT_LOST = 1, 2, 4, 8


@dataclass(frozen=True)
class Sensor:
    """A sensor that measures: raw value times `factor` times ten to the power of `exponent`."""

    name: str
    number: int
    kind: int
    unit: int
    entity: int
    instance: int
    raw: int
    factor: int = 1
    exponent: int = 0
    low: int = 0  # raw limits, critical; 0 and 255 for none
    high: int = 255

    def record(self, number: int) -> bytes:
        """Its full sensor record (IPMI 2.0, section 43.1)."""
        low, high = self.low > 0, self.high < 255
        mask = (0b10 if low else 0) | (0b10000 if high else 0)
        events = (0b1100 if low else 0) | (0b11 << 8 if high else 0)
        body = struct.pack("<BBBBBBBBB", 0x20, 0, self.number, self.entity, self.instance, 0x7F, 0x68, self.kind, 1)
        body += struct.pack("<HHBBBBBB", events, events, mask, mask, 0, self.unit, 0, 0)
        body += struct.pack("<BBBBBB", self.factor, 0, 0, 0, 0, (self.exponent & 15) << 4)
        body += bytes([0, 0, 0, 0, 255, 0, 255, self.high, 255, 0, self.low, 0, 1, 1, 0, 0, 0])
        return _record(number, 1, body + _name(self.name))

    def commands(self, path: Path) -> list[str]:
        """What makes `ipmi_sim` have it, its raw value in `path`."""
        low, high = self.low > 0, self.high < 255
        which = "".join(str(int(has)) for has in (False, high, False, False, low, False))
        limits = f"0 {self.high if high else 0} 0 0 {self.low} 0"
        events = "".join(("1" if has else "0") * 2 for has in (False, high, False, False, low, False)).rjust(15, "0")
        where = f"{BMC_ADDRESS} 0 {self.number}"
        return [
            f'sensor_add {where} {self.kind} 1 poll 500 file "{path}"',
            f"sensor_set_threshold {where} settable {which} {limits}",
            f"sensor_set_event_support {where} enable scanning per-state {events} {events} {events} {events}",
        ]


@dataclass(frozen=True)
class State:
    """A sensor that has states, one in each bit."""

    name: str
    number: int
    kind: int
    entity: int
    instance: int
    raw: int
    event_type: int = 0x6F

    def record(self, number: int) -> bytes:
        """Its compact sensor record (IPMI 2.0, section 43.2)."""
        body = struct.pack("<BBBBBBBBB", 0x20, 0, self.number, self.entity, self.instance, 0x67, 0x40, self.kind, 0x6F)
        body = body[:-1] + bytes([self.event_type])
        body += struct.pack("<HHHBBBBB", 15, 15, 15, 0, 0, 0, 1, 0) + bytes(6)
        return _record(number, 2, body + _name(self.name))

    def commands(self, path: Path) -> list[str]:
        """As of a Sensor."""
        where, events = f"{BMC_ADDRESS} 0 {self.number}", "1111".rjust(15, "0")
        return [
            f'sensor_add {where} {self.kind} {self.event_type} poll 500 file "{path}"',
            f"sensor_set_event_support {where} enable scanning per-state {events} {events} {events} {events}",
        ]


def _name(name: str) -> bytes:
    return bytes([0xC0 | len(name)]) + name.encode()


def _record(number: int, kind: int, body: bytes) -> bytes:
    return struct.pack("<HBBB", number, 0x51, kind, len(body)) + body


SENSORS: Sequence[Sensor | State] = (
    Sensor("CPU1 Temp", 1, TEMPERATURE, CELSIUS, PROCESSOR, 1, 45, high=95),
    Sensor("Inlet Temp", 2, TEMPERATURE, CELSIUS, 0x37, 1, 24),
    Sensor("PSU1 Vin", 3, VOLTAGE, VOLTS, POWER_SUPPLY, 1, 230),
    Sensor("PSU1 Vout", 4, VOLTAGE, VOLTS, POWER_SUPPLY, 1, 200, factor=6, exponent=-2, low=190),
    Sensor("PSU2 Vin", 5, VOLTAGE, VOLTS, POWER_SUPPLY, 2, 230),
    Sensor("PSU2 Vout", 6, VOLTAGE, VOLTS, POWER_SUPPLY, 2, 201, factor=6, exponent=-2, low=190),
    Sensor("PSU1 Iout", 7, CURRENT, AMPERES, POWER_SUPPLY, 1, 60, factor=3, exponent=-1),
    Sensor("PSU1 Pin", 8, POWER, WATTS, POWER_SUPPLY, 1, 60, factor=4),
    Sensor("FAN1", 9, FAN, RPM, COOLING, 1, 62, factor=100, low=10),
    State("PSU1 Status", 20, SUPPLY, POWER_SUPPLY, 1, PRESENT),
    State("PSU2 Status", 21, SUPPLY, POWER_SUPPLY, 2, PRESENT),
    State("PS Redundancy", 22, SUPPLY, REDUNDANT, 1, 1, event_type=0x0B),
)


class IpmiSim:
    """One `ipmi_sim`, which listens on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free(socket.SOCK_DGRAM)
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "state").mkdir(parents=True)
        commands = [
            "mc_setbmc 0x20",
            "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02",
            "sel_enable 0x20 100 10",
        ]
        for number, sensor in enumerate(SENSORS, 1):
            self.set(sensor.name, sensor.raw)
            commands.append(f"main_sdr_add 0x20 {' '.join(map(hex, sensor.record(number)))}")
            commands += sensor.commands(self._file(sensor.name))
        (folder / "bmc.emu").write_text("\n".join([*commands, "mc_enable 0x20"]) + "\n")
        (folder / "lan.conf").write_text(
            'name "bmc"\nset_working_mc 0x20\nstartlan 1\n'
            f"  addr 127.0.0.1 {self.port}\n  priv_limit admin\n"
            + "".join(f"  allowed_auths_{who} md5\n" for who in ("callback", "user", "operator", "admin"))
            + "  guid a123456789abcdefa123456789abcdef\nendlan\n"
            f'user 2 true "{USER}" "{PASSWORD}" admin 10 md5\n'
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def set(self, name: str, raw: int) -> None:
        """Let a sensor have this raw value; it shows within half a second."""
        draft = self.folder / "draft"
        draft.write_text(f"{raw}\n")
        draft.rename(self._file(name))

    def ask(self, *asked: str) -> str:
        """What `ipmitool` itself says."""
        command = [
            "ipmitool",
            "-I",
            "lanplus",
            "-H",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-C",
            "3",
            "-R",
            "1",
            "-N",
            "1",
        ]
        told = subprocess.run([*command, "-U", USER, "-P", PASSWORD, *asked], capture_output=True, text=True)
        return told.stdout

    def start(self) -> None:
        with (self.folder / "out").open("wb") as out:
            self._process = subprocess.Popen(
                ["ipmi_sim", "-c", "lan.conf", "-f", "bmc.emu", "-s", "state", "-n"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        eventually(lambda: "System Power" in self.ask("chassis", "status"), 20.0, 0.2)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10.0)
        self._process = None

    def _file(self, name: str) -> Path:
        return self.folder / name.replace(" ", "_")


@contextmanager
def ipmi_sim(folder: Path) -> Iterator[IpmiSim]:
    """A BMC by IPMI that answers; skips where its programs are not installed."""
    for program, package in (("ipmi_sim", "openipmi"), ("ipmitool", "ipmitool")):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}; install the package {package}")
    bmc = IpmiSim(folder)
    try:
        bmc.start()
        yield bmc
    finally:
        bmc.stop()


def _free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


# --- Redfish ----------------------------------------------------------------------------------------------------------

OK = {"State": "Enabled", "Health": "OK"}
CHASSIS = "Chassis/1"


class RedfishTree:
    """The documents of a Redfish service with two power supplies, below a folder."""

    def __init__(self, folder: Path, *, older: bool) -> None:
        self.folder, self.port = folder, _free(socket.SOCK_STREAM)
        self.process: subprocess.Popen[bytes] | None = None
        links = ("Power", "Thermal") if older else ("PowerSubsystem", "ThermalSubsystem", "Sensors")
        self.write("", Chassis=_link("Chassis"), Managers=_link("Managers"), Systems=_link("Systems"), Vendor="Example")
        self._collection("Chassis", "1")
        self._collection("Managers", "bmc")
        self._collection("Systems", "1")
        self.write(CHASSIS, Status=OK, **{name: _link(f"{CHASSIS}/{name}") for name in links})
        self.write("Managers/bmc", FirmwareVersion="2.10.0", LastResetTime="2026-01-01T00:00:00Z")
        self.write("Systems/1", PowerState="On", Status=OK)
        (self._older if older else self._newer)()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self, path: str, **document: Any) -> None:
        """Put a document in its place at once."""
        place = self.folder / path
        place.mkdir(parents=True, exist_ok=True)
        (place / "draft").write_text(json.dumps({"@odata.id": f"/redfish/v1/{path}", "Name": place.name, **document}))
        (place / "draft").rename(place / "index.json")

    def set(self, path: str, place: str, value: Any) -> None:
        """Change one value of a document, named by its keys with dots between them."""
        document = json.loads((self.folder / path / "index.json").read_text())
        *outer, last = [int(key) if key.isdecimal() else key for key in place.split(".")]
        inner = document
        for key in outer:
            inner = inner[key]
        inner[last] = value
        self.write(path, **document)

    def stop(self) -> None:
        """Let the service be gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10.0)
        self.process = None

    def _collection(self, path: str, *names: str) -> None:
        self.write(path, Members=[_link(f"{path}/{name}") for name in names])

    def _older(self) -> None:
        supplies = [
            {
                "@odata.id": f"/redfish/v1/{CHASSIS}/Power#/PowerSupplies/{number}",
                "MemberId": str(number),
                "Name": f"PS{number + 1} Status",
                "LineInputVoltage": 230,
                "PowerInputWatts": 240,
                "PowerOutputWatts": 221,
                "SerialNumber": f"CN000{number + 1}",
                "FailurePredicted": False,
                "Status": OK,
            }
            for number in (0, 1)
        ]
        volts = {"Name": "PSU1 Output 12V", "ReadingVolts": 12.0, "Status": OK, "@odata.id": "/volts"}
        redundancy = {"Name": "System Power", "Status": OK}
        self.write(f"{CHASSIS}/Power", PowerSupplies=supplies, Voltages=[volts], Redundancy=[redundancy])
        self.write(
            f"{CHASSIS}/Thermal",
            Temperatures=[{"Name": "CPU1 Temp", "ReadingCelsius": 45, "Status": OK}],
            Fans=[
                {"Name": "FAN1", "Reading": 6200, "ReadingUnits": "RPM", "Status": OK},
                {"Name": "FAN2", "Reading": 40, "ReadingUnits": "Percent", "Status": OK},
            ],
        )

    def _newer(self) -> None:
        base = f"{CHASSIS}/PowerSubsystem"
        group = {"Name": "Supplies", "Status": OK}
        self.write(base, PowerSupplies=_link(f"{base}/PowerSupplies"), PowerSupplyRedundancy=[group])
        self._collection(f"{base}/PowerSupplies", "Bay1", "Bay2")
        for number in (1, 2):
            path = f"{base}/PowerSupplies/Bay{number}"
            self.write(
                path,
                Name=f"Power Supply Bay {number}",
                Status=OK,
                LineInputStatus="Normal",
                SerialNumber=f"CN000{number}",
                Model="PWR-800",
                FirmwareVersion="1.0",
                Metrics=_link(f"{path}/Metrics"),
            )
            self.write(
                f"{path}/Metrics",
                InputVoltage={"Reading": 230.0},
                RailVoltage=[{"Reading": 12.1, "DataSourceUri": f"/redfish/v1/{CHASSIS}/Sensors/PS{number}V12"}],
                TemperatureCelsius={"Reading": 35.0},
                FanSpeedPercent={"Reading": 40, "SpeedRPM": 4000},
            )
        self._collection(f"{CHASSIS}/Sensors", "Inlet", "PS1V12")
        self.write(f"{CHASSIS}/Sensors/Inlet", ReadingType="Temperature", Reading=24.0, Name="Inlet Temp", Status=OK)
        self.write(f"{CHASSIS}/Sensors/PS1V12", ReadingType="Voltage", Reading=12.1, Name="PSU1 12V", Status=OK)
        self.write(f"{CHASSIS}/ThermalSubsystem", Fans=_link(f"{CHASSIS}/ThermalSubsystem/Fans"))
        self._collection(f"{CHASSIS}/ThermalSubsystem/Fans", "1")
        self.write(f"{CHASSIS}/ThermalSubsystem/Fans/1", Name="FAN1", SpeedPercent={"SpeedRPM": 6200}, Status=OK)


def _link(path: str) -> dict[str, str]:
    return {"@odata.id": f"/redfish/v1/{path}"}


@contextmanager
def redfish_service(folder: Path, *, older: bool = False) -> Iterator[RedfishTree]:
    """A BMC by Redfish that answers, with the documents of today's schemas or of the `older` ones."""
    tree = RedfishTree(folder / "redfish" / "v1", older=older)
    program = Path(sys.executable).with_name("sushy-static")
    command = [str(program), "--mockup-files", str(tree.folder), "--interface", "127.0.0.1", "--port", str(tree.port)]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    tree.process = process
    try:
        eventually(lambda: _answers(tree.port) or process.poll() is not None, 30.0, 0.1)
        assert process.poll() is None, (folder / "out").read_text()
        yield tree
    finally:
        tree.stop()


class _Guarded(BaseHTTPRequestHandler):
    """A Redfish service that asks who comes: basic or session, as DSP0266 has it; the root is open to all."""

    tree: RedfishTree
    logins: tuple[str, ...]
    sessions: set[str]

    def do_GET(self) -> None:
        path = self.path.rstrip("/")
        document = self.tree.folder / path.removeprefix("/redfish/v1").lstrip("/") / "index.json"
        if path != "/redfish/v1" and not self._known():
            self._say(401)
        elif document.is_file():
            self._say(200, document.read_bytes())
        else:
            self._say(404)

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "session" not in self.logins or (told["UserName"], told["Password"]) != (USER, PASSWORD):
            self._say(401)
            return
        number = str(len(self.sessions) + 1)
        self.sessions.add(number)
        place = f"/redfish/v1/SessionService/Sessions/{number}"
        self._say(201, b"{}", {"X-Auth-Token": f"{TOKEN}{number}", "Location": place})

    def do_DELETE(self) -> None:
        self.sessions.discard(self.path.rpartition("/")[2])
        self._say(204)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""

    def _known(self) -> bool:
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        told = "basic" in self.logins and self.headers.get("Authorization") == f"Basic {basic}"
        return told or self.headers.get("X-Auth-Token", "").removeprefix(TOKEN) in self.sessions

    def _say(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@dataclass(frozen=True)
class Guarded:
    """A Redfish service by https that asks for an account: its address, certificate, and sessions that are open."""

    tree: RedfishTree
    address: str
    certificate: Path
    sessions: set[str]


@contextmanager
def guarded_redfish(folder: Path, *logins: str) -> Iterator[Guarded]:
    """A BMC by Redfish over https, with a certificate of its own making, that takes these `logins`."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with; install the package openssl")
    certificate, key = folder / "bmc.pem", folder / "bmc.key"
    order = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=bmc -addext subjectAltName=IP:127.0.0.1"
    command = ["openssl", *order.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    tree, sessions = RedfishTree(folder / "redfish" / "v1", older=False), set[str]()
    links = {"Sessions": _link("SessionService/Sessions")}
    document = json.loads((tree.folder / "index.json").read_text())
    tree.write("", **{**document, "Links": links})
    handler = type("Handler", (_Guarded,), {"tree": tree, "logins": logins, "sessions": sessions})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield Guarded(tree, f"https://127.0.0.1:{server.server_address[1]}", certificate, sessions)
    finally:
        server.shutdown()
        serving.join(10.0)
        server.server_close()


def _answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0
