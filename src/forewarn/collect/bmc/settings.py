"""Which BMCs are asked, how, and with whose credentials."""

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from forewarn.errors import SourceAbsent

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Protocol(StrEnum):
    """How a BMC is asked."""

    IPMI = "ipmi"
    REDFISH = "redfish"


class Login(StrEnum):
    """How a Redfish service is told who asks."""

    BASIC = "basic"
    SESSION = "session"


@dataclass(frozen=True)
class BmcTarget:
    """One BMC."""

    address: str
    """For ipmi HOST or HOST:PORT (623, where none is named); for redfish an address such as https://bmc03.example."""

    host: str = ""
    """The host on whose board it sits, as telemetry calls it. A server that asks many BMCs needs it; an agent, whose
    BMC is its own host's, does not."""

    protocol: Protocol = Protocol.IPMI
    """ipmi asks by `ipmitool` over the network (lanplus); redfish by the Python package `redfish`
    (`pip install forewarn[redfish]`)."""

    username: str = ""
    """Account of the BMC; the privilege USER (IPMI) or the role ReadOnly (Redfish) suffices. Empty: none is sent."""

    password_file: Path | None = None
    """File whose first line is the password; it is read at each poll and never logged."""

    password_variable: str = ""
    """Name of the environment variable that holds the password, in place of a file. It may not start with FOREWARN_,
    since those are settings."""

    login: Login = Login.BASIC
    """How Redfish is told who asks: basic with each document; or session, which opens a session at each poll and closes
    it, for BMCs that refuse the other. A BMC has few sessions, and other tools take of them too."""

    cipher_suite: int = 3
    """IPMI cipher suite: 3 (SHA-1, AES) is what nearly every BMC takes, 17 (SHA-256) what newer ones prefer. Asking
    the BMC for its suites first takes many of them ten seconds."""

    ca_file: Path | None = None
    """Certificates (PEM) that vouch for a BMC's https; the system's, where none is named."""

    insecure: bool = False
    """Ask by https without looking at the certificate, as many BMCs only have one of their own making."""

    def __post_init__(self) -> None:
        redfish = self.protocol is Protocol.REDFISH
        if redfish != self.address.startswith(("http://", "https://")):
            wanted = "an address such as https://bmc03.example" if redfish else "HOST or HOST:PORT"
            raise ValueError(f"address is {self.address!r}, but protocol {self.protocol} takes {wanted}")
        if self.password_variable and not _VARIABLE.fullmatch(self.password_variable):
            raise ValueError(f"password_variable is {self.password_variable!r}, which is no variable's name")
        if self.username and not (self.password_file or self.password_variable):
            raise ValueError(f"{self.address} has a username and no password_file or password_variable")

    def password(self) -> str:
        """The password, empty where none is configured. Raises SourceAbsent, without the password, if it is not there.

        Only its source is ever named in a text.
        """
        if self.password_file is not None:
            try:
                return self.password_file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
            except (OSError, UnicodeDecodeError) as problem:
                raise SourceAbsent(f"password_file {self.password_file} cannot be read") from problem
        if self.password_variable:
            if self.password_variable not in os.environ:
                raise SourceAbsent(f"the environment has no {self.password_variable}")
            return os.environ[self.password_variable]
        return ""


@dataclass(frozen=True)
class BmcSettings:
    """Which BMCs are asked, and how patiently. None is, unless that is said here."""

    local: bool = False
    """Ask the BMC of the agent's own host through the kernel (`ipmitool -I open`; modules ipmi_si and ipmi_devintf).
    Privilege: read and write on /dev/ipmi0, which is root's unless udev says otherwise. Agents only."""

    targets: tuple[BmcTarget, ...] = ()
    """BMCs that are asked over the network, a table `[[bmc.targets]]` each: `address`, `host`, `protocol` (ipmi or
    redfish), `username`, `password_file` or `password_variable`, `login`, `cipher_suite`, `ca_file`, `insecure`."""

    command: str = "ipmitool"
    """Name or path of ipmitool, looked up on PATH."""

    interval_s: float = 60.0
    """Seconds between two questions to a BMC. BMCs are slow computers: a minute is what the field uses, and many
    refresh their sensors no more often."""

    timeout_s: float = 20.0
    """Seconds that one BMC may take for one answer of several: a BMC that hangs hides no other."""

    at_once: int = 16
    """BMCs that are asked at the same time."""

    documents_max: int = 200
    """Most Redfish documents that are read of one BMC per poll; some 40 hold all supplies, fans and sensors of a
    server."""

    sel_entries_max: int = 200
    """Newest entries of the event log that are read when something was added; more were added between two polls only by
    a log gone wild."""

    stuck_s: float = 3600.0
    """Seconds after which readings that have not moved at all, of three sensors or more, count as stuck: a BMC that
    hangs goes on telling what it last knew."""

    stale_s: float = 180.0
    """Seconds for which the last answer stands where none follows; after that the BMC's readings are absent."""
