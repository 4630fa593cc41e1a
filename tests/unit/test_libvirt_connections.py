"""Libvirt is asked with a deadline: its own test driver answers, a silent socket stands for a host that hangs."""

import socket
import threading
from collections.abc import Iterator

import pytest

from forewarn.errors import ConfigurationError, DriverUnavailable, ForewarnError, MoveRefused, VmGone
from tests.support import eventually

libvirt = pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.drivers.libvirt.connections import Connections, ConnectionSettings, checked_uri  # noqa: E402
from forewarn.drivers.libvirt.explain import opening  # noqa: E402
from forewarn.drivers.libvirt.threads import Late, Threads  # noqa: E402

HERE = "test:///default"
BRISK = ConnectionSettings(open_s=0.3, call_s=0.3, calls_per_host=2)


@pytest.fixture
def silent() -> Iterator[str]:
    """The URI of a host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"qemu+tcp://127.0.0.1:{listener.getsockname()[1]}/system"


def names(connection: object) -> list[str]:
    return [domain.name() for domain in connection.listAllDomains()]  # type: ignore[attr-defined]


def lookup(connection: object) -> str:
    return str(connection.lookupByName("nobody").name())  # type: ignore[attr-defined]


def test_a_host_answers_over_one_connection() -> None:
    connections = Connections({"a": HERE})
    assert connections.call("a", names, "list its VMs") == ["test"]
    assert connections.call("a", names, "list its VMs") == ["test"]
    assert connections.metrics()['forewarn_libvirt_connections_opened_total{host="a"}'] == 1


def test_a_closed_connection_is_opened_again() -> None:
    connections = Connections({"a": HERE})
    connections.call("a", names, "list its VMs")
    connections.close()
    assert connections.call("a", names, "list its VMs") == ["test"]
    assert connections.metrics()['forewarn_libvirt_connections_opened_total{host="a"}'] == 2


def test_a_host_that_never_answers_ends_at_the_deadline_and_hides_no_other(silent: str) -> None:
    connections = Connections({"good": HERE, "hung": silent}, BRISK)
    answers = connections.each(names, "list its VMs")
    assert answers["good"] == ["test"]
    assert isinstance(answers["hung"], DriverUnavailable)
    assert "hung did not connect at qemu+tcp://127.0.0.1" in str(answers["hung"])
    assert "within 0.3 s" in str(answers["hung"])


def test_calls_that_hang_are_bounded_and_counted(silent: str) -> None:
    connections = Connections({"mute": silent}, BRISK)
    for _ in range(4):
        with pytest.raises(DriverUnavailable):
            connections.call("mute", names, "list its VMs")
    assert [thread.name for thread in threading.enumerate()].count("libvirt mute") == BRISK.calls_per_host
    counted = connections.metrics()
    assert counted['forewarn_libvirt_calls_hanging{host="mute"}'] == BRISK.calls_per_host
    assert counted['forewarn_libvirt_calls_abandoned_total{host="mute"}'] == BRISK.calls_per_host


def test_a_call_past_its_deadline_gets_a_new_connection_and_its_slot_back() -> None:
    connections = Connections({"a": HERE}, BRISK)
    release = threading.Event()
    with pytest.raises(DriverUnavailable, match=r"a did not wait within 0\.3 s"):
        connections.call("a", lambda _: release.wait(), "wait")
    assert connections.call("a", names, "list its VMs") == ["test"]
    assert connections.metrics()['forewarn_libvirt_connections_opened_total{host="a"}'] == 2
    assert connections.metrics()['forewarn_libvirt_calls_hanging{host="a"}'] == 1
    release.set()
    eventually(lambda: connections.metrics()['forewarn_libvirt_calls_hanging{host="a"}'] == 0)


def test_an_urgent_call_gets_through_while_all_others_hang() -> None:
    connections = Connections({"a": HERE}, BRISK)
    release = threading.Event()
    for _ in range(BRISK.calls_per_host):
        with pytest.raises(DriverUnavailable):
            connections.call("a", lambda _: release.wait(), "wait")
    with pytest.raises(DriverUnavailable, match=r"2 calls to it have not returned"):
        connections.call("a", names, "list its VMs")
    assert connections.call("a", names, "list its VMs", fresh=True) == ["test"]
    release.set()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("qemu+unix:///system?socket=/nowhere/libvirt-sock", "a cannot be reached at qemu+unix"),
        ("qemu+tcp://127.0.0.1:1/system", "see that libvirtd or virtqemud runs and listens there"),
        ("qemu+pigeon:///system", "correct libvirt.hosts.a"),
    ],
)
def test_a_host_that_cannot_be_connected_to_says_what_to_do(uri: str, said: str) -> None:
    with pytest.raises(DriverUnavailable, match=said.replace("+", r"\+")):
        Connections({"a": uri}).call("a", names, "list its VMs")


@pytest.mark.parametrize(
    ("uri", "remedy"),
    [
        ("qemu+ssh://a/system", "see that ssh lets this user in there without a password"),
        ("qemu+tls://a/system", "see that libvirtd listens there with TLS and takes this machine's certificate"),
        ("qemu+tcp://a/system", "see that libvirtd or virtqemud runs and listens there"),
    ],
)
def test_a_way_in_that_is_refused_says_what_to_look_at(uri: str, remedy: str) -> None:
    refused = libvirt.libvirtError("Permission denied")
    refused.err = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, "Permission denied", 2, None, None, None, -1, -1)
    assert remedy in str(opening(refused, "a", uri))


def test_what_is_no_uri_refuses_to_start() -> None:
    with pytest.raises(ConfigurationError, match=r"libvirt\.hosts\.a: 'somewhere' is no URI"):
        Connections({"a": "somewhere"})


def test_ssh_never_asks_at_a_terminal() -> None:
    assert checked_uri("a", "qemu+ssh://a/system?keyfile=/k") == "qemu+ssh://a/system?keyfile=/k&no_tty=1"
    assert checked_uri("a", "qemu+tls://a/system") == "qemu+tls://a/system"


def test_an_unconfigured_host_is_named() -> None:
    with pytest.raises(DriverUnavailable, match=r"no libvirt host 'b' is configured"):
        Connections({"a": HERE}).call("b", names, "list its VMs")


def test_a_vanished_domain_is_told_as_gone() -> None:
    with pytest.raises(VmGone, match=r"libvirt on a has no VM nobody any more"):
        Connections({"a": HERE}).call("a", lookup, "look it up", vm="nobody")


def test_a_reading_connection_changes_nothing() -> None:
    def stop(connection: object) -> None:
        connection.lookupByName("test").suspend()  # type: ignore[attr-defined]

    with pytest.raises(MoveRefused, match=r"test on a: the connection may only read"):
        Connections({"a": HERE}).call("a", stop, "suspend it", vm="test")
    Connections({"a": HERE}, writing=True).call("a", stop, "suspend it", vm="test")


def test_what_a_host_cannot_do_is_refused_with_its_own_words() -> None:
    def job(connection: object) -> None:
        connection.lookupByName("test").jobStats()  # type: ignore[attr-defined]

    with pytest.raises(MoveRefused, match=r"libvirt cannot read its job: this function is not supported"):
        Connections({"a": HERE}).call("a", job, "read its job", vm="test")


def test_errors_of_ours_pass_through() -> None:
    def refuse(_connection: object) -> None:
        raise MoveRefused("not today")

    with pytest.raises(MoveRefused, match="not today"):
        Connections({"a": HERE}).call("a", refuse, "move it")


def test_every_host_answers_or_says_why() -> None:
    answers = Connections({"a": HERE, "b": "qemu+tcp://127.0.0.1:1/system"}).each(names, "list its VMs", ["b", "a"])
    assert list(answers) == ["b", "a"]
    assert isinstance(answers["b"], ForewarnError)
    assert Connections({}).each(names, "list its VMs") == {}


def test_a_waiting_call_takes_the_slot_that_comes_free() -> None:
    threads, release, entered = Threads(1), threading.Event(), threading.Event()

    def hold() -> str:
        entered.set()
        release.wait(5)
        return "held"

    answers: list[str] = []
    first = threading.Thread(target=lambda: answers.append(threads.run("a", hold, 5)))
    first.start()
    entered.wait(5)
    with pytest.raises(Late):
        threads.run("a", lambda: "second", 0.05)
    release.set()
    assert threads.run("a", lambda: "third", 5) == "third"
    first.join(5)
    assert answers == ["held"]


@pytest.mark.parametrize("name", ["open_s", "call_s", "calls_per_host"])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above 0"):
        ConnectionSettings(**{name: 0})


def test_a_defect_in_a_question_ends_no_cycle_and_goes_to_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_value))
    connections = Connections({"a": "test:///default"})
    with pytest.raises(DriverUnavailable, match="ended by a defect of Forewarn"):
        connections.call("a", lambda _: int("no number"), "count")
    eventually(lambda: [type(error) for error in told] == [ValueError])
    assert connections.call("a", lambda c: c.getHostname(), "tell its name")
    connections.close()
