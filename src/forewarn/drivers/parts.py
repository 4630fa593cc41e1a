"""The simulated hosts' parts: which live, what redundancy is left, and which VMs stand on them now."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from forewarn.domain.inventory import Component, VirtualMachine


class Parts:
    """Components that die and are replaced. A dead part leaves the inventory until a new one sits in its place."""

    def __init__(self, components: tuple[Component, ...]) -> None:
        self._parts = {part.id: part for part in components}
        self._dead: set[str] = set()

    def get(self, component: str) -> Component | None:
        """A part, dead or alive, or None."""
        return self._parts.get(component)

    def die(self, component: str) -> bool:
        """Note a part as dead. True if its set had no spare left, so that what stands on it fails."""
        part = self._parts[component]
        self._dead.add(component)
        dead = sum(self._parts[name].group == part.group for name in self._dead) if part.group else 1
        return dead > part.spares

    def swap(self, component: str, new: Component) -> None:
        """Put a new part in the place of an old one, which may bear the same id; the order is kept."""
        self._dead.discard(component)
        self._parts = {
            (new.id if name == component else name): (new if name == component else part)
            for name, part in self._parts.items()
        }

    def living(self, vms: Mapping[str, VirtualMachine]) -> Iterator[Component]:
        """The parts that live, with the spares that are left and, of the VMs on their path, those still on the host."""
        lost = Counter(self._parts[name].group for name in self._dead)
        for part in self._parts.values():
            if part.id not in self._dead:
                here = tuple(vm for vm in part.vms if vm in vms and vms[vm].host == part.host)
                spares = max(0, part.spares - lost[part.group]) if part.group else part.spares
                yield replace(part, spares=spares, vms=here)
