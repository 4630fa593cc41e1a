"""Power and heat: the energy counters that only root may read, the board's sensors, and the power supplies."""

from collections.abc import Iterator

from forewarn.collect.doctor.examination import Examination
from forewarn.collect.power import CHIPS, RAPL, SUPPLIES
from forewarn.domain.finding import Finding, State


def refused_zones(seen: Examination) -> list[str]:
    """The RAPL zones whose counter is there and cannot be read."""
    files = [f"{RAPL}/{zone}/energy_uj" for zone in seen.tree.names(RAPL, "intel-rapl:")]
    return [file for file in files if seen.tree.has(file) and seen.tree.raw(file) is None]


def energy(seen: Examination) -> Iterator[Finding]:
    """Whether the energy counters of the CPUs can be read."""
    refused = refused_zones(seen)
    if refused:
        text = (
            f"{len(refused)} energy counters (RAPL) cannot be read: since CVE-2020-8694 the kernel lets only root read"
            " them, so the power that the CPUs draw is unknown"
        )
        yield Finding("sensors", State.WARNING, text, "give the agent CAP_DAC_READ_SEARCH", f"/{refused[0]}")
    elif any(sample.name.startswith("node_rapl_") for sample in seen.samples):
        yield Finding("sensors", State.OK, "the energy counters of the CPUs (RAPL) are read")


def board(seen: Examination) -> Iterator[Finding]:
    """Whether the board's sensors show themselves, and among them the CPU's temperature."""
    chips = seen.tree.names(CHIPS)
    names = {
        seen.tree.words(f"{CHIPS}/{chip}/name") or seen.tree.words(f"{CHIPS}/{chip}/device/name") for chip in chips
    }
    if not chips:
        remedy = (
            "load the drivers of this board's sensors: `modprobe coretemp` or `k10temp`; `sensors-detect` names more"
        )
        yield Finding("sensors", seen.amiss, "no sensor of the board (hwmon) shows itself", remedy, f"/{CHIPS}")
        return
    shown = ", ".join(sorted(filter(None, names)))
    yield Finding("sensors", State.OK, f"{len(chips)} chips of the board (hwmon) are read: {shown}")
    if not names & {"coretemp", "k10temp", "zenpower", "cpu_thermal"}:
        remedy = "`modprobe coretemp` on Intel, `modprobe k10temp` on AMD"
        yield Finding("sensors", seen.amiss, "no sensor tells the temperature of the CPU", remedy, f"/{CHIPS}")


def supplies(seen: Examination) -> Iterator[Finding]:
    """Whether any power supply of the server shows itself. Batteries and adapters are none."""
    folders = [f"{SUPPLIES}/{name}" for name in seen.tree.names(SUPPLIES) if not name.startswith(".")]
    mains = [folder for folder in folders if seen.tree.words(f"{folder}/type") == "Mains"]
    if mains or seen.virtual:
        return
    if any(sample.name == "forewarn_psu_present" for sample in seen.samples):
        return
    remedy = "let the agent ask the BMC: bmc.local (load ipmi_si and ipmi_devintf first) or bmc.targets"
    text = "no power supply shows itself to the kernel: servers' supplies are known only to the BMC"
    yield Finding("sensors", State.NOTE, text, remedy, f"/{SUPPLIES}")
