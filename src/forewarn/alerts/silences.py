"""Silences of Alertmanager as windows of work on hosts: who silences a host because it is worked on says it once.

A silence counts if it names hosts (matcher `host`, by equality or regular expression) and either carries the matcher
`forewarn="maintenance"` or `forewarn="freeze"`, or names nothing but hosts and our cluster. Pure, but for `fetch`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from forewarn.alerts.alert import Silence
from forewarn.alerts.alertmanager import Alertmanager
from forewarn.alerts.settings import SILENCE_KINDS, AlertmanagerSettings
from forewarn.errors import ReceiverUnavailable

_TOKEN = re.compile(r"\.\*|\.\+|\\d|\\[^\w\s]|\[[\w-]+\]|\.|[^\\.*+?()\[\]{}^$|]")


def fetch(settings: AlertmanagerSettings, cluster: str) -> tuple[tuple[Silence, ...], tuple[str, ...]]:
    """The silences that hold or will hold, from the first Alertmanager that answers, and a sentence for each left out.

    Raises ReceiverUnavailable if none answers.
    """
    failed = ReceiverUnavailable("no address of Alertmanager is configured")
    for url in settings.urls:
        try:
            return silences_of(Alertmanager(url, settings).silences(), settings, cluster)
        except ReceiverUnavailable as error:
            failed = error
    raise failed


def silences_of(
    told: Sequence[Mapping[str, Any]], settings: AlertmanagerSettings, cluster: str = ""
) -> tuple[tuple[Silence, ...], tuple[str, ...]]:
    """What Alertmanager told, as silences of hosts, and a sentence for each that should be one and cannot be."""
    found: list[Silence] = []
    left_out: list[str] = []
    for each in told:
        try:
            silence = _silence(each, settings, cluster)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            left_out.append(f"the silence {str(each)[:80]} cannot be read: {error}")
            continue
        if silence is not None:
            found.append(silence)
    found.sort(key=lambda silence: (silence.starts_at, silence.key))
    if (surplus := len(found) - settings.silences_max) > 0:
        left_out.append(f"{surplus} silences are left out, for at most {settings.silences_max} are read")
    return tuple(found[: settings.silences_max]), tuple(left_out)


def _silence(told: Mapping[str, Any], settings: AlertmanagerSettings, cluster: str) -> Silence | None:
    if told["status"]["state"] == "expired":
        return None
    matchers = {matcher["name"]: matcher for matcher in told["matchers"]}
    kind = _kind(matchers, settings, cluster)
    if not kind or "host" not in matchers:
        return None
    return Silence(
        key=str(told["id"]),
        kind=kind,
        hosts=_hosts(matchers["host"]),
        starts_at=datetime.fromisoformat(told["startsAt"]),
        ends_at=datetime.fromisoformat(told["endsAt"]),
        who=str(told.get("createdBy", "")),
        why=str(told.get("comment", "")),
    )


def _kind(matchers: Mapping[str, Mapping[str, Any]], settings: AlertmanagerSettings, cluster: str) -> str:
    """What the silence means for its hosts; empty if it is none of ours."""
    if "cluster" in matchers and not _matches(matchers["cluster"], cluster):
        return ""
    marker = matchers.get("forewarn")
    if marker is not None:
        return next((kind for kind in SILENCE_KINDS if _equal(marker) and marker["value"] == kind), "")
    return settings.silences_as if set(matchers) <= {"host", "cluster"} else ""


def _equal(matcher: Mapping[str, Any]) -> bool:
    return matcher.get("isEqual", True) and not matcher["isRegex"]


def _matches(matcher: Mapping[str, Any], value: str) -> bool:
    return _equal(matcher) and matcher["value"] == value


def _hosts(matcher: Mapping[str, Any]) -> tuple[str, ...]:
    if not matcher.get("isEqual", True):
        raise ValueError("it matches every host but some; name the hosts that are meant")
    if not matcher["isRegex"]:
        return (_literal(matcher["value"]),)
    return patterns(matcher["value"])


def patterns(expression: str) -> tuple[str, ...]:
    r"""Patterns of fnmatch that match what an anchored regular expression matches. Raises ValueError for others.

    It takes alternatives of plain text, `.`, `.*`, `.+`, `\d` and sets of characters, as people write them for hosts.

    >>> patterns("rack1-.*|(db[0-3]|web\\.example)")
    ('rack1-*', 'db[0-3]', 'web.example')
    """
    return tuple(_pattern(choice) for choice in _choices(expression))


def _choices(expression: str) -> Iterable[str]:
    """What stands between the bars, one pair of brackets around all of them taken off."""
    for choice in _split(expression):
        if choice.startswith("(") and choice.endswith(")"):
            yield from _split(choice[1:-1].removeprefix("?:"))
        else:
            yield choice


def _split(expression: str) -> list[str]:
    """Split at the bars outside brackets."""
    parts, depth = [""], 0
    for sign in expression:
        depth += (sign == "(") - (sign == ")")
        if sign == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _pattern(choice: str) -> str:
    choice = choice.removeprefix("^").removesuffix("$")
    tokens = _TOKEN.findall(choice)
    if not choice or "".join(tokens) != choice:
        raise ValueError(f"{choice!r} is no pattern of hosts that Forewarn can follow; use names, `.*` and `|`")
    return "".join(map(_translated, tokens))


def _translated(token: str) -> str:
    known = {".*": "*", ".+": "?*", ".": "?", r"\d": "[0-9]"}
    if token in known or token.startswith("["):
        return known.get(token, token)
    return _literal(token.removeprefix("\\"))


def _literal(text: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)
