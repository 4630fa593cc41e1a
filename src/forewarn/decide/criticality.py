"""How much an outage of a VM hurts: what its owner declared, else what its name and tags suggest, with the reason.

Only a declaration makes a VM HIGH, since HIGH VMs move at once. Whatever is inferred is NORMAL or LOW.
"""

import re
from collections.abc import Iterable, Mapping

from forewarn.domain.inventory import Criticality

DECLARATION = "forewarn:criticality"
MASAKARI = "HA_Enabled"
TAGS: Mapping[str, Criticality] = {f"forewarn-{level}": level for level in Criticality}
# Words that, standing alone between separators, tell that nobody waits for this VM.
UNIMPORTANT = frozenset(
    ("batch", "bench", "ci", "demo", "dev", "lab", "runner", "sandbox", "scratch", "staging", "temp", "test", "tmp")
)
TRUE, FALSE = ("1", "on", "true", "yes"), ("0", "false", "no", "off")


def infer(name: str, metadata: Mapping[str, str] | None = None, tags: Iterable[str] = ()) -> tuple[Criticality, str]:
    """The criticality of a VM and where it comes from.

    >>> infer("web-1", {"forewarn:criticality": "high"})
    (<Criticality.HIGH: 'high'>, 'declared: forewarn:criticality=high')
    >>> infer("ci-runner-7")
    (<Criticality.LOW: 'low'>, "inferred: the name says 'ci'")
    """
    metadata, tags = metadata or {}, tuple(tags)
    return _declared(metadata, tags) or _inferred(name, metadata, tags)


def _declared(metadata: Mapping[str, str], tags: tuple[str, ...]) -> tuple[Criticality, str] | None:
    level = metadata.get(DECLARATION, "").strip().lower()
    if level in set(Criticality):
        return Criticality(level), f"declared: {DECLARATION}={level}"
    for tag in sorted(tag.strip().lower() for tag in tags):
        if tag in TAGS:
            return TAGS[tag], f"declared: tag {tag}"
    recovered = metadata.get(MASAKARI, "").strip().lower()
    if recovered in TRUE:
        return Criticality.HIGH, f"declared: {MASAKARI}={recovered}"
    if recovered in FALSE:  # the owner wants no recovery after an outage
        return Criticality.LOW, f"declared: {MASAKARI}={recovered}"
    return None


def _inferred(name: str, metadata: Mapping[str, str], tags: tuple[str, ...]) -> tuple[Criticality, str]:
    unread = metadata.get(DECLARATION, "")
    remark = f" ({DECLARATION}={unread} is none of high, normal, low)" if unread else ""
    for source, text in (("name", name), *(("tag", tag) for tag in sorted(tags))):
        words = re.split(r"[^a-z]+", text.lower())
        if found := next((word for word in words if word in UNIMPORTANT), ""):
            return Criticality.LOW, f"inferred: the {source} says '{found}'{remark}"
    return Criticality.NORMAL, f"inferred: nothing declared, nothing in name or tags{remark}"
