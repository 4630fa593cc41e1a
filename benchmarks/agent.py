"""What a scrape of the agent costs this host, beside Debian's node_exporter for the same series, in one run.

Both read the files of one made-up server of two sockets, and are asked over HTTP, as Prometheus asks them. What counts
is CPU time and resident memory, read from `/proc`; the ratio travels between machines, seconds do not. node_exporter is
looked up on PATH, or named by NODE_EXPORTER; Debian's needs no installation:

    apt-get download prometheus-node-exporter && dpkg -x prometheus-node-exporter_*.deb node-exporter
    NODE_EXPORTER=node-exporter/usr/bin/prometheus-node-exporter python benchmarks/agent.py
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOW_TO_GET_IT = __doc__.rpartition(":\n")[2].rstrip("\n")
SCRAPES = 200
WARM_UP = 10
PATIENCE_S = 30.0
NAMES = ("prometheus-node-exporter", "node_exporter")
# Those of node_exporter's collectors whose series the agent shows too.
COLLECTORS = ("bonding", "cpu", "cpufreq", "diskstats", "edac", "hwmon", "mdadm", "meminfo", "netclass", "netdev")
OURS = '["cpu", "memory", "disk", "redundancy", "network", "power"]'
CPUS, DRIVES, CARDS = 128, 56, 8
CPU_SHARE_MAX, RESIDENT_MIB_MAX = 1.0, 40.0  # the goals
CARD_FILES: tuple[tuple[str, str | int], ...] = (
    *((file, 1) for file in ("carrier", "carrier_changes", "carrier_down_count", "carrier_up_count", "dev_id")),
    *(("operstate", "up"), ("speed", 10000), ("mtu", 1500), ("tx_queue_len", 1000), ("flags", "0x1003")),
    *(("address", "02:00:5e:00:00:01"), ("broadcast", "ff:ff:ff:ff:ff:ff"), ("duplex", "full"), ("ifalias", "")),
    *((file, 1) for file in ("addr_assign_type", "dormant", "iflink", "ifindex", "link_mode", "name_assign_type")),
    *((file, 1) for file in ("netdev_group", "type")),
)
FORMAT = re.compile(r"^(\w+)(?:\{.*\})? \S+$", re.MULTILINE)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_server(root: Path) -> None:
    """The `/proc` and `/sys` of a host with two sockets of 32 cores, two threads each, 56 drives and 8 cards."""
    write(root / "proc/meminfo", "".join(f"Field{number}: {number * 4096} kB\n" for number in range(50)))
    write(root / "proc/cpuinfo", "")
    make_cpus(root)
    make_drives(root)
    make_cards(root)
    for chip in range(2):
        folder = root / f"sys/class/hwmon/hwmon{chip}"
        write(folder / "name", "coretemp\n")
        for sensor in range(1, 34):
            for file, text in (("input", "41000"), ("label", f"Core {sensor}"), ("max", "90000"), ("crit", "100000")):
                write(folder / f"temp{sensor}_{file}", f"{text}\n")


def make_cpus(root: Path) -> None:
    lines = [f"cpu{number} 1000 10 500 90000 30 0 10 0 5 0" for number in range(CPUS)]
    write(root / "proc/stat", "cpu 1 1 1 1\n" + "\n".join(lines) + "\nintr 1\nctxt 1\nbtime 1767600000\n")
    frequencies = ("scaling_cur_freq", "scaling_min_freq", "scaling_max_freq", "cpuinfo_min_freq", "cpuinfo_max_freq")
    for number in range(CPUS):
        cpu = root / f"sys/devices/system/cpu/cpu{number}"
        write(cpu / "topology/core_id", f"{number // 2 % 32}\n")
        write(cpu / "topology/physical_package_id", f"{number // 64}\n")
        for frequency in frequencies:
            write(cpu / "cpufreq" / frequency, "2100000\n")
        write(cpu / "cpufreq/scaling_governor", "performance\n")
        for level in ("core", "package"):
            write(cpu / f"thermal_throttle/{level}_throttle_count", "3\n")
            write(cpu / f"thermal_throttle/{level}_throttle_total_time_ms", "12\n")


def make_drives(root: Path) -> None:
    rows = []
    for number in range(DRIVES):
        name = f"sd{'ab'[number // 26 - 1] if number >= 26 else ''}{chr(97 + number % 26)}"
        rows.append(f"   8 {number * 16} {name} 91233 1204 7312 412 52110 330 9120 810 2 301 122 5 0 40 1 99 12\n")
        write(root / f"sys/block/{name}/queue/rotational", "1\n")
        write(root / f"sys/block/{name}/device/ioerr_cnt", "0x1\n")
    write(root / "proc/diskstats", "".join(rows))


def make_cards(root: Path) -> None:
    cards = [f"eth{number}" for number in range(CARDS)]
    counters = " ".join(["1234"] * 16)
    write(root / "proc/net/dev", "Inter-|\n face |\n" + "".join(f"  {card}: {counters}\n" for card in cards))
    for card in cards:
        for file, value in CARD_FILES:
            write(root / "sys/class/net" / card / file, f"{value}\n")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, settings: dict[str, str]) -> Iterator[int]:
    """A process that answers scrapes on `port`; its id."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env={**os.environ, **settings})
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                scrape(port)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        return str(answer.read().decode())


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measured(command: list[str], port: int, settings: dict[str, str]) -> tuple[float, float, str]:
    """CPU milliseconds per scrape, resident MiB, and what it shows."""
    with running(command, port, settings) as pid:
        for _ in range(WARM_UP):
            text = scrape(port)
        began = cpu_seconds(pid)
        for _ in range(SCRAPES):
            text = scrape(port)
        return (cpu_seconds(pid) - began) / SCRAPES * 1e3, resident_mib(pid), text


def series(text: str, names: set[str]) -> int:
    return sum(line.partition("{")[0].partition(" ")[0] in names for line in text.splitlines())


def report(what: str, found: tuple[float, float, str]) -> None:
    milliseconds, mebibytes, text = found
    lines = sum(not line.startswith("#") for line in text.splitlines())
    print(f"{what:44} {milliseconds:9.1f} ms   {mebibytes:.0f} MiB resident, {lines} series")


def main() -> None:
    named = os.environ.get("NODE_EXPORTER") or next(filter(None, map(shutil.which, NAMES)), None)
    port, other = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        make_server(Path(folder))
        agent = [sys.executable, "-m", "forewarn", "agent", "--listen", f"127.0.0.1:{port}"]
        ours = measured(agent, port, {"FOREWARN_AGENT__COLLECTORS": OURS, "FOREWARN_AGENT__ROOT": folder})
        report("CPU time of a scrape of the agent", ours)
        if named is None:
            print(f"node_exporter is not on PATH: nothing to hold it against. To get it:{HOW_TO_GET_IT}")
            return
        chosen = [f"--collector.{name}" for name in COLLECTORS]
        paths = [f"--path.procfs={folder}/proc", f"--path.sysfs={folder}/sys", f"--path.udev.data={folder}/udev"]
        quiet = ["--collector.disable-defaults", "--web.disable-exporter-metrics"]
        theirs = measured([named, f"--web.listen-address=127.0.0.1:{other}", *quiet, *paths, *chosen], other, {})
    report("CPU time of a scrape of node_exporter", theirs)
    common = set(FORMAT.findall(ours[2])) & set(FORMAT.findall(theirs[2]))
    print(f"{len(common)} metrics in common, {series(ours[2], common)} and {series(theirs[2], common)} series of them")
    share = ours[0] / max(theirs[0], 1e-9)
    print(
        f"{'the agent, as a share of node_exporter':44} {share:9.2f} of its CPU time (goal: at most {CPU_SHARE_MAX:g})"
    )
    print(f"{'the agent, resident':44} {ours[1]:9.1f} MiB (goal: at most {RESIDENT_MIB_MAX:g})")


if __name__ == "__main__":
    main()
