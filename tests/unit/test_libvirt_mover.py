"""How moves end whose tidying up fails, told with libvirt's own test driver: no question to a host may end a cycle."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

libvirt = pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.clock import SimulatedClock  # noqa: E402
from forewarn.domain.plan import MoveState  # noqa: E402
from forewarn.drivers.libvirt.connections import Connections  # noqa: E402
from forewarn.drivers.libvirt.mover import LibvirtMover  # noqa: E402
from forewarn.drivers.libvirt.settings import HostSettings, LibvirtSettings  # noqa: E402
from forewarn.errors import DriverUnavailable  # noqa: E402
from tests.moves import move  # noqa: E402

GUEST = "6695eb01-f6a4-8304-79aa-97f2502e193f"  # what test:///default runs
ARRIVED = replace(move(), vm=GUEST, vm_name="test", source="a", target="b")


def failing(code: int) -> Callable[..., None]:
    def call(*_: object) -> None:
        error = libvirt.libvirtError("on purpose")
        error.err = (code, libvirt.VIR_FROM_QEMU, "on purpose", 2, None, None, None, -1, -1)
        raise error

    return call


LEFT = f"""<node><domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
<name>test</name><uuid>{GUEST}</uuid><memory>8192</memory><os><type>hvm</type></os><test:runstate>5</test:runstate>
</domain></node>"""


def following(folder: Path, source: str) -> tuple[LibvirtMover, Connections]:
    """Who follows a move from `a`, which shows `source`, to `b`, where `test` runs."""
    (folder / "a.xml").write_text(source)
    uris = {"a": f"test://{folder / 'a.xml'}", "b": "test:///default"}
    connections = Connections(uris, writing=True)
    settings = LibvirtSettings(hosts={name: HostSettings(uri) for name, uri in uris.items()})
    clock = SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))
    return LibvirtMover(settings, connections, clock, lambda _: None), connections


@pytest.fixture
def mover(tmp_path: Path) -> Iterator[LibvirtMover]:
    """The source knows nothing of the VM any more."""
    made, connections = following(tmp_path, "<node/>")
    yield made
    connections.close()


def test_a_move_has_succeeded_though_its_measures_are_refused_and_says_so(mover: LibvirtMover) -> None:
    progress = mover.poll(ARRIVED)
    assert progress.state is MoveState.SUCCEEDED
    assert "libvirt cannot take the VM over" in progress.left_behind
    assert mover.poll(ARRIVED) == progress


def test_a_vm_that_goes_on_from_its_target_while_it_is_asked_is_looked_for_again(
    mover: LibvirtMover, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libvirt.virDomain, "metadata", lambda *_: "<move to='b'/>")
    monkeypatch.setattr(libvirt.virDomain, "setMetadata", failing(libvirt.VIR_ERR_NO_DOMAIN))
    with pytest.raises(DriverUnavailable, match="has no VM test any more"):
        mover.poll(ARRIVED)
    monkeypatch.undo()
    assert mover.poll(ARRIVED).state is MoveState.SUCCEEDED


def test_a_definition_that_cannot_be_taken_away_is_told_and_the_move_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover, connections = following(tmp_path, LEFT)
    monkeypatch.setattr(libvirt.virDomain, "undefineFlags", failing(libvirt.VIR_ERR_OPERATION_INVALID))
    progress = mover.poll(ARRIVED)
    assert progress.state is MoveState.SUCCEEDED
    assert "its definition is still on a, where it must not be started" in progress.left_behind
    connections.close()


ASLEEP = """<node><domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
<name>test</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid><memory>8192</memory><os><type>hvm</type></os>
<test:runstate>3</test:runstate></domain></node>"""


@pytest.mark.parametrize(
    ("reason", "mark", "awake"),
    [
        (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, "<move to='b' autostart='no'/>", True),
        (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, "<move to='c' autostart='no'/>", False),
        (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, "", False),
        (libvirt.VIR_DOMAIN_PAUSED_USER, "<move to='b' autostart='no'/>", False),
    ],
)
def test_a_guest_that_stands_still_at_its_target_is_woken_only_where_a_move_of_ours_stopped_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int, mark: str, awake: bool
) -> None:
    mover, connections = following(tmp_path, "<node/>")
    state, woken = [libvirt.VIR_DOMAIN_PAUSED, reason], list[str]()
    monkeypatch.setattr(libvirt.virDomain, "state", lambda *_: list(state))
    monkeypatch.setattr(libvirt.virDomain, "resume", lambda domain: woken.append(domain.name()))
    if mark:
        monkeypatch.setattr(libvirt.virDomain, "metadata", lambda *_: mark)
    if awake:
        with pytest.raises(DriverUnavailable, match="test was let go on at b"):
            mover.poll(ARRIVED)
    elif reason == libvirt.VIR_DOMAIN_PAUSED_USER:
        assert mover.poll(ARRIVED).state is MoveState.SUCCEEDED  # it has arrived, and its owner paused it there
    else:
        progress = mover.poll(ARRIVED)
        assert progress.state is MoveState.FAILED
        assert "stands still on b, stopped by a migration that is none of Forewarn's" in progress.text
    assert woken == ["test"] * awake
    connections.close()
