"""The table of rules: which sign of a part means which probability of its failure, and where that comes from.

Every line names its source. Most published studies give ratios and yearly rates, not the probability behind one
reading, so the step from a study to a number here is our judgement, and where nothing has been published the source
says "engineering judgement" alone. That is why intervals are a factor of `ODDS_FACTOR` in odds to either side. Nothing
here has been fitted to data, and nothing here knows how the simulated world degrades.

Sources in short: [DRAM09] Schroeder, Pinheiro, Weber, "DRAM Errors in the Wild", SIGMETRICS 2009. [DISK07] Pinheiro,
Weber, Barroso, "Failure Trends in a Large Disk Drive Population", FAST 2007. [MTTF07] Schroeder, Gibson, "Disk Failures
in the Real World", FAST 2007. [CLOUD10] Vishwanath, Nagappan, "Characterizing Cloud Computing Hardware Reliability",
SoCC 2010. [CORR17] Zhuo et al., "Understanding and Mitigating Packet Corruption in Data Center Networks", SIGCOMM 2017.
[FLASH16] Schroeder, Lagisetty, Merchant, "Flash Reliability in Production", FAST 2016. [MODES15] Sridharan et al.,
"Memory Errors in Modern Systems", ASPLOS 2015. [DDR4-23] Beigi et al., "A Systematic Study of DDR4 DRAM Faults in the
Field", HPCA 2023. [BITS22] Li et al., "From Correctable Memory Errors to Uncorrectable Memory Errors: What Error Bits
Tell", SC 2022.
"""

from collections.abc import Mapping
from datetime import timedelta

from forewarn.domain.inventory import Kind
from forewarn.predict.rule_terms import Base, Comparison, Excuse, Grade, Sign

JUDGEMENT = "engineering judgement"
ODDS_FACTOR = 3.0  # how wrong a rule may well be, in odds, to either side

# P(failure within 30 days) from which on VMs should leave, at an even hazard over those days. It stands between the
# grades that say "look" (0.06) and those that say "act" (0.2 and more).
ACT = 0.10


BASES: Mapping[Kind, Base] = {
    Kind.CPU: Base(0.002, f"{JUDGEMENT}; far rarer than disks and memory in [CLOUD10]"),
    Kind.MEMORY: Base(0.0022, "[DRAM09]: uncorrectable errors in about 0.22 % of DIMMs a year"),
    Kind.DISK: Base(0.02, "[MTTF07]: 2-4 % of drives replaced in a year is common; the lower end, as some were sound"),
    Kind.NETWORK: Base(0.005, JUDGEMENT),
    Kind.POWER: Base(0.01, f"{JUDGEMENT}; a common replacement in [MTTF07], its rate not given"),
}

HOURS, DAY, DAYS = timedelta(hours=6), timedelta(days=1), timedelta(days=3)
LOOK = 0.06

CPU_SIGNS = (
    Sign(
        Kind.CPU, "cpu_temperature_max_1h", (Grade(90, LOOK), Grade(95, 0.25, DAY), Grade(100, 0.5, HOURS)),
        f"Intel and AMD data sheets: throttling at Tjmax (95-105 °C), power-off above it; {JUDGEMENT}", "heat",
    ),
    Sign(
        Kind.CPU, "cpu_package_throttles_increase_1h", (Grade(1, LOOK), Grade(10, 0.25, DAY), Grade(100, 0.5, HOURS)),
        f"Intel SDM vol. 3, thermal monitor: a throttling package is at its limit; {JUDGEMENT}", "heat",
    ),
    Sign(
        Kind.CPU, "cpu_core_throttles_increase_1h", (Grade(10, LOOK), Grade(100, 0.2, DAY), Grade(1000, 0.4, HOURS)),
        f"Intel SDM vol. 3, thermal monitor; {JUDGEMENT}", "heat",
    ),
    Sign(
        Kind.CPU, "cpu_machine_checks_increase_1h", (Grade(1, 0.3, DAYS), Grade(10, 0.6, DAY)),
        f"Intel SDM vol. 3, chapter 16: the exception is raised for errors that were not corrected; {JUDGEMENT}",
        "checks",
    ),
    Sign(
        Kind.CPU, "cpu_machine_checks_increase_1d", (Grade(1, 0.3, DAYS), Grade(10, 0.6, DAY)),
        f"Intel SDM vol. 3, as above, once the open hour is over; {JUDGEMENT}", "checks",
    ),
    Sign(
        Kind.CPU, "cpu_corrected_thresholds_increase_1h", (Grade(1, 0.03), Grade(10, 0.15, DAYS)),
        f"Intel SDM vol. 3, 16.5: corrected errors beyond a threshold of the processor's own; {JUDGEMENT}", "corrected",
    ),
)  # fmt: skip

MEMORY_SIGNS = (
    Sign(
        Kind.MEMORY, "dimm_corrected_increase_1h",
        (Grade(10, LOOK), Grade(100, 0.25, DAYS), Grade(1000, 0.5, DAY)),
        f"[DRAM09]: a DIMM with corrected errors is tens to hundreds of times likelier to have an uncorrected one in "
        f"the same month; the grades are {JUDGEMENT}", "corrected",
    ),
    Sign(
        Kind.MEMORY, "dimm_corrected_increase_1d",
        (Grade(1, 0.02), Grade(24, LOOK), Grade(1000, 0.25, DAYS), Grade(10000, 0.5, DAY)),
        f"[DRAM09], as above; Linux and vendors retire pages from about 24 corrected errors a day; {JUDGEMENT}",
        "corrected",
    ),
    Sign(
        Kind.MEMORY, "dimm_uncorrected_increase_1h", (Grade(1, 0.5, DAY), Grade(3, 0.75, HOURS)),
        f"[DRAM09]: a DIMM is replaced after its first uncorrected error; {JUDGEMENT}", "uncorrected",
    ),
    Sign(
        Kind.MEMORY, "dimm_uncorrected_increase_1d", (Grade(1, 0.5, DAY), Grade(3, 0.75, HOURS)),
        f"[DRAM09], as above, once the open hour is over; {JUDGEMENT}", "uncorrected",
    ),
    Sign(
        Kind.MEMORY, "dimm_uncorrected_increase_7d", (Grade(1, 0.3),),
        f"[DRAM09], as above; {JUDGEMENT}", "uncorrected",
    ),
    Sign(
        Kind.MEMORY, "dimm_fault_mode_last", (Grade(2, 0.03), Grade(3, LOOK), Grade(4, 0.15), Grade(5, 0.25)),
        f"[MODES15], [DDR4-23]: faults wider than a cell (column, row, bank, device) are a minority that causes most "
        f"uncorrected errors, the wider the likelier; {JUDGEMENT}", "mode",
    ),
    Sign(
        Kind.MEMORY, "dimm_multi_bit_increase_1h", (Grade(1, 0.12, DAYS), Grade(10, 0.3, DAYS)),
        f"[BITS22]: which bits were wrong tells more than how many errors there were; errors of several bits or "
        f"symbols are a step from what the code can correct; {JUDGEMENT}", "bits",
    ),
    Sign(
        Kind.MEMORY, "dimm_multi_bit_increase_1d", (Grade(1, 0.12, DAYS), Grade(10, 0.3, DAYS)),
        f"[BITS22], as above, once the open hour is over; {JUDGEMENT}", "bits",
    ),
    Sign(
        Kind.MEMORY, "dimm_multi_bit_increase_7d", (Grade(1, 0.06), Grade(10, 0.15)),
        f"[BITS22], as above; {JUDGEMENT}", "bits",
    ),
)  # fmt: skip

DISK_SIGNS = (
    Sign(
        Kind.DISK, "smart_status_last", (Grade(0, 0.6, DAYS),),
        f"ATA ACS, SMART RETURN STATUS, threshold exceeded: failure is predicted; {JUDGEMENT}", "own verdict",
        comparison=Comparison.AT_MOST,
    ),
    Sign(
        Kind.DISK, "smart_198_increase_30d", (Grade(1, LOOK),),
        "[DISK07]: 39 times likelier to fail within 60 days of the first scan error", "surface",
    ),
    Sign(
        Kind.DISK, "smart_197_last", (Grade(1, 0.03), Grade(100, 0.15)),
        f"[DISK07]: 16 times likelier within 60 days of the first sector on probation; {JUDGEMENT}", "surface",
    ),
    Sign(
        Kind.DISK, "smart_5_increase_30d", (Grade(1, 0.025), Grade(100, 0.15)),
        f"[DISK07]: 14 times likelier within 60 days of the first reallocation; {JUDGEMENT}", "surface",
    ),
    Sign(
        Kind.DISK, "disk_io_errors_increase_1h", (Grade(1, LOOK), Grade(10, 0.3, DAY), Grade(100, 0.6, HOURS)),
        f"{JUDGEMENT}: requests that the device failed reach the guests", "requests",
    ),
    Sign(
        Kind.DISK, "nvme_critical_warning_last",
        (Grade(2, LOOK), Grade(1, 0.2), Grade(4, 0.5, DAYS), Grade(8, 0.9, HOURS)),
        f"NVMe base specification, critical warning: temperature, spare, reliability, read-only; {JUDGEMENT}",
        "own verdict", comparison=Comparison.BIT,
    ),
    Sign(
        Kind.DISK, "nvme_available_spare_last", (Grade(10, LOOK), Grade(3, 0.25)),
        f"NVMe base specification, available spare against the usual threshold of 10 %; {JUDGEMENT}", "wear",
        comparison=Comparison.AT_MOST,
    ),
    Sign(
        Kind.DISK, "nvme_percentage_used_last", (Grade(120, LOOK),),
        "NVMe base specification: past 100 the endurance is used up; [FLASH16]: wear alone foretells little", "wear",
    ),
    Sign(
        Kind.DISK, "nvme_media_errors_increase_1d", (Grade(1, 0.03), Grade(10, 0.12), Grade(100, 0.3, DAYS)),
        f"[FLASH16]: uncorrectable errors come again and precede bad blocks; {JUDGEMENT}", "media",
    ),
    Sign(
        Kind.DISK, "nvme_error_entries_increase_1d", (Grade(1, 0.02), Grade(1000, LOOK)),
        f"NVMe base specification, error information log: also commands that a host got wrong are entries, so how many "
        f"there are tells nothing and that they grow fast does; {JUDGEMENT}", "log",
    ),
    Sign(
        Kind.DISK, "sas_grown_defects_increase_30d", (Grade(1, 0.025), Grade(100, 0.15)),
        f"SCSI block commands, grown defect list: what ATA counts as reallocated sectors; [DISK07]; {JUDGEMENT}",
        "surface",
    ),
    *(
        Sign(
            Kind.DISK, f"sas_{verb}_uncorrected_increase_{window}", (Grade(1, LOOK), Grade(10, 0.2, DAYS)),
            f"SCSI primary commands, log page of {verb} errors, uncorrected; [DISK07], scan errors; {JUDGEMENT}",
            "surface",
        )
        for verb in ("read", "write")
        for window in ("1h", "1d")
    ),
    Sign(
        Kind.DISK, "disk_io_timeouts_increase_1h", (Grade(1, 0.03), Grade(10, 0.2, DAY), Grade(100, 0.4, HOURS)),
        f"{JUDGEMENT}: requests that time out make guests wait, and a drive that hangs is reset or given up",
        "requests",
    ),
    Sign(
        Kind.DISK, "disk_working_last", (Grade(0, 0.9, HOURS),),
        f"{JUDGEMENT}: the kernel's driver has given the drive up", "requests", comparison=Comparison.AT_MOST,
    ),
    Sign(
        Kind.DISK, "disk_readonly_filesystems_last", (Grade(1, 0.3, DAY),),
        f"{JUDGEMENT}: a file system turns read-only after writes that failed", "requests",
    ),
    Sign(
        Kind.DISK, "self_test_passed_last", (Grade(0, 0.3, DAYS),),
        f"ATA ACS and SPC, self-test results: the drive could not read or do what it should; {JUDGEMENT}",
        "own verdict", comparison=Comparison.AT_MOST,
    ),
    Sign(
        Kind.DISK, "disk_vanished_last", (Grade(60, LOOK),),
        f"{JUDGEMENT}: a drive that drops off its bus may be dying, or its cable, its driver or a hand is behind it",
        "vanished",
    ),
)  # fmt: skip

NETWORK_SIGNS = (
    Sign(
        Kind.NETWORK, "nic_frame_errors_increase_1h",
        (Grade(36, LOOK), Grade(1000, 0.2, DAYS), Grade(10000, 0.4, DAY)),
        f"IEEE 802.3: a bit error rate of 1e-12 gives up to 36 bad frames an hour at 10 Gbit/s; [CORR17]: corruption "
        f"persists until repaired; {JUDGEMENT}", "frames",
    ),
    Sign(
        Kind.NETWORK, "nic_receive_errors_increase_1h",
        (Grade(36, LOOK), Grade(1000, 0.2, DAYS), Grade(10000, 0.4, DAY)),
        f"[CORR17], as for frames; {JUDGEMENT}", "frames",
    ),
    Sign(
        Kind.NETWORK, "nic_crc_errors_increase_1h",
        (Grade(36, LOOK), Grade(1000, 0.2, DAYS), Grade(10000, 0.4, DAY)),
        f"[CORR17], as for frames, where the driver counts them for itself; {JUDGEMENT}", "frames",
    ),
    Sign(
        Kind.NETWORK, "nic_fec_uncorrectable_increase_1h", (Grade(1, 0.02), Grade(36, LOOK), Grade(1000, 0.2, DAYS)),
        f"IEEE 802.3, clauses 91 and 108: a block beyond error correction is many frames lost; {JUDGEMENT}", "frames",
    ),
    Sign(
        Kind.NETWORK, "nic_carrier_changes_increase_1h", (Grade(4, LOOK), Grade(10, 0.25, DAY), Grade(40, 0.5, HOURS)),
        f"{JUDGEMENT}; every loss and return of a link counts two changes", "link",
    ),
    Sign(
        Kind.NETWORK, "nic_up_last", (Grade(0, 0.7, HOURS),),
        f"{JUDGEMENT}: a link that changed today and is down now", "link",
        comparison=Comparison.AT_MOST, only_if=("nic_carrier_changes_increase_1d", Comparison.AT_LEAST, 1),
    ),
    Sign(
        Kind.NETWORK, "nic_up_last", (Grade(0, 0.7, HOURS),),
        f"{JUDGEMENT}, as above: windows of a day do not see the open hour", "link",
        comparison=Comparison.AT_MOST, only_if=("nic_carrier_changes_increase_6h", Comparison.AT_LEAST, 1),
    ),
    Sign(
        Kind.NETWORK, "nic_speed_degraded_last", (Grade(1, LOOK),),
        f"{JUDGEMENT}: as the agent saw it before, or as both ends offer", "link",
    ),
    Sign(
        Kind.NETWORK, "nic_speed_share", (Grade(0.5, LOOK),),
        f"{JUDGEMENT}: a link that settles for less than its speed of the week has a bad cable, optic or port", "link",
        comparison=Comparison.AT_MOST,
    ),
)  # fmt: skip

_FEED = "the feed of {device} is lost: look at the PDU and the cord; the supply itself is not suspected"
FEED_LOST = (
    Excuse(
        "psu_input_lost_max_1h", "psu_input_lost_last", Comparison.AT_LEAST, 1, "input lost", _FEED,
        "IPMI 2.0, table 42-3, type 08h, offset 3 (input lost); Redfish PowerSupply, LineInputStatus LossOfInput",
    ),
    Excuse(
        "psu_input_volts_min_1h", "psu_input_volts_last", Comparison.NEAR_ZERO, 20, "input lost", _FEED,
        f"vendors' data sheets: supplies start at 36 V (DC) or 90 V (AC) of input; a sensor's zero is coarse; "
        f"{JUDGEMENT}",
    ),
)  # fmt: skip

POWER_SIGNS = (
    Sign(
        Kind.POWER, "psu_state_max_1h", (Grade(1, LOOK), Grade(2, 0.35, DAY)),
        f"IPMI 2.0, sensor thresholds: non-critical and critical; {JUDGEMENT}", "state", unless=FEED_LOST,
    ),
    Sign(
        Kind.POWER, "psu_failed_max_1h", (Grade(1, 0.9, HOURS),),
        f"IPMI 2.0, table 42-3, type 08h, offset 1 (failure detected); Redfish PowerSupply, Health Critical; "
        f"{JUDGEMENT}", "state", unless=FEED_LOST,
    ),
    Sign(
        Kind.POWER, "psu_failure_predicted_max_1h", (Grade(1, 0.5, DAYS),),
        f"IPMI 2.0, table 42-3, type 08h, offset 2 (predictive failure); Redfish PowerSupply, FailurePredicted; "
        f"{JUDGEMENT}", "state",
    ),
    Sign(
        Kind.POWER, "psu_present_last", (Grade(0, 0.3, DAY),),
        f"IPMI 2.0, table 42-3, type 08h, offset 0 (presence): a supply that was there today and is gone; it was "
        f"pulled, or is no longer seen; {JUDGEMENT}", "presence",
        comparison=Comparison.AT_MOST, only_if=("psu_present_changes_1d", Comparison.AT_LEAST, 1),
    ),
    Sign(
        Kind.POWER, "psu_present_last", (Grade(0, 0.3, DAY),),
        f"IPMI 2.0, table 42-3, as above: windows of a day do not see the open hour; {JUDGEMENT}", "presence",
        comparison=Comparison.AT_MOST, only_if=("psu_present_changes_6h", Comparison.AT_LEAST, 1),
    ),
    Sign(
        Kind.POWER, "psu_vanished_last", (Grade(300, LOOK),),
        f"{JUDGEMENT}: a supply of which its BMC no longer tells was taken out, or no longer talks", "presence",
    ),
    Sign(
        Kind.POWER, "psu_output_volts_share", (Grade(0.97, LOOK), Grade(0.95, 0.3, DAY), Grade(0.92, 0.6, HOURS)),
        f"EPS12V and ATX12V design guides: 12 V within 5 %; held against the supply's own week; {JUDGEMENT}", "output",
        comparison=Comparison.AT_MOST, unless=FEED_LOST,
    ),
    Sign(
        Kind.POWER, "psu_output_volts_stddev_1h", (Grade(0.12, LOOK), Grade(0.25, 0.2, DAYS), Grade(0.5, 0.4, DAY)),
        f"EPS12V design guide: ripple of at most 120 mV on 12 V; {JUDGEMENT}", "output", unless=FEED_LOST,
    ),
    Sign(
        Kind.POWER, "psu_fan_speed_share", (Grade(0.6, LOOK), Grade(0.3, 0.2, DAYS), Grade(0.05, 0.4, DAY)),
        f"{JUDGEMENT}: a supply whose fan stops overheats", "cooling", comparison=Comparison.AT_MOST,
        unless=FEED_LOST,
    ),
    Sign(
        Kind.POWER, "psu_temperature_max_1h", (Grade(65, LOOK), Grade(75, 0.2, DAYS), Grade(85, 0.4, DAY)),
        f"vendors' data sheets: supplies are rated for 50-60 °C of inlet air; PMBus 1.3, over-temperature limits; "
        f"{JUDGEMENT}", "cooling",
    ),
    Sign(
        Kind.POWER, "psu_temperature_rise", (Grade(15, LOOK), Grade(25, 0.2, DAYS)),
        f"{JUDGEMENT}: much warmer than the supply's own week", "cooling",
    ),
    Sign(
        Kind.POWER, "board_volts_alarm_max_1h", (Grade(1, 0.15, DAYS),),
        f"the board's own limits (hwmon in*_alarm); {JUDGEMENT}", "board",
    ),
    Sign(
        Kind.POWER, "board_volts_stddev_1h", (Grade(0.12, LOOK), Grade(0.3, 0.2, DAYS)),
        f"EPS12V design guide: ripple of at most 120 mV on 12 V; {JUDGEMENT}", "board",
    ),
)  # fmt: skip

# The excuses of each kind; whichever sign they stand at, all are told.
EXCUSES: Mapping[Kind, tuple[Excuse, ...]] = {Kind.POWER: FEED_LOST}

SIGNS: tuple[Sign, ...] = (*CPU_SIGNS, *MEMORY_SIGNS, *DISK_SIGNS, *NETWORK_SIGNS, *POWER_SIGNS)

# A forecast needs at least one of these to be known; a part that shows none of them is of unknown risk.
TELLING: Mapping[Kind, tuple[tuple[str, str], ...]] = {
    Kind.CPU: (
        ("cpu_temperature_max_1h", "temperature"),
        ("cpu_package_throttles_increase_1h", "package throttle counter"),
        ("cpu_core_throttles_increase_1h", "core throttle counter"),
    ),
    Kind.MEMORY: (
        ("dimm_corrected_last", "counter of corrected errors"),
        ("dimm_uncorrected_last", "counter of uncorrected errors"),
    ),
    Kind.DISK: (
        ("smart_status_last", "SMART status"),
        ("nvme_critical_warning_last", "NVMe warnings"),
        ("smart_5_last", "SMART counters"),
        ("smart_197_last", "SMART counters"),
    ),
    Kind.NETWORK: (
        ("nic_frame_errors_increase_1h", "frame error counter"),
        ("nic_receive_errors_increase_1h", "receive error counter"),
        ("nic_carrier_changes_increase_1h", "carrier change counter"),
    ),
    Kind.POWER: (
        ("psu_state_last", "sensor state"),
        ("psu_failed_last", "failure flag"),
        ("psu_output_volts_last", "output voltage"),
        ("psu_temperature_last", "temperature"),
        ("psu_fan_speed_last", "fan speed"),
        ("board_volts_last", "12 V rail of the board"),
        ("board_volts_alarm_last", "voltage alarm of the board"),
    ),
}
