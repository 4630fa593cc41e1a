"""The versions of a site's models at one fsspec URL, and which of them serves: its champion.

    KIND/VERSION/       a model as `registry` writes it, and `verdict.json`, what it was judged to be worth
    KIND/champion.json  every promotion and roll-back in their order; the last of the line serves

A version is named by its content, so that it never changes. The champion changes by one file, replaced in one step: on
a folder by a rename, on object storage by a single write. What cannot be read is named and refused, and the last good
champion of the line serves on.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.errors import ModelError
from forewarn.predict import registry
from forewarn.predict.trees import Card, TreesPredictor
from forewarn.state.snapshot import write_whole

CHAMPION, VERDICT = "champion.json", "verdict.json"
FORMAT = 1
LINE_MAX = 1000  # promotions that are kept; the oldest go first


@dataclass(frozen=True)
class Promotion:
    """One change of champion: to `version`, by whom and why. `back` where it undoes the one before it."""

    version: str
    at: datetime
    who: str
    why: str
    back: bool = False
    request: int = 0  # the request that asked for it; 0 where none did


@dataclass(frozen=True)
class Line:
    """All changes of champion of one kind, the oldest first."""

    promotions: tuple[Promotion, ...] = ()

    @property
    def standing(self) -> tuple[str, ...]:
        """The versions that a roll-back would come by, the champion last.

        >>> at = datetime.min
        >>> Line((Promotion("a", at, "", ""), Promotion("b", at, "", ""), Promotion("a", at, "", "", True))).standing
        ('a',)
        """
        stack: list[str] = []
        for promotion in self.promotions:
            if not promotion.back:
                stack.append(promotion.version)
            elif stack:
                stack.pop()
        return tuple(stack)

    @property
    def champion(self) -> str:
        """The version that serves; empty where none was ever promoted."""
        return (self.standing or ("",))[-1]


@dataclass(frozen=True)
class Version:
    """One version: its card and what it was judged to be worth, or why it cannot be used."""

    kind: Kind
    name: str
    card: Card | None
    verdict: Mapping[str, Any]
    refused: str = ""


@dataclass(frozen=True)
class Serving:
    """The model that serves, None where the line holds no good one, and what was refused on the way to it."""

    model: TreesPredictor | None
    refused: tuple[str, ...]


class Registry:
    """The models at `url`. Every method raises ModelError where that place cannot be reached or written."""

    def __init__(self, url: str, catalog: Catalog) -> None:
        self.url, self._catalog = url.rstrip("/"), catalog

    def add(self, model: TreesPredictor, verdict: Mapping[str, Any] | None = None) -> str:
        """Keep a model and what it was judged to be worth; returns its version."""
        kind, version = model.kind, model.card.version
        if not self._exists(f"{kind}/{version}/{registry.MANIFEST}"):
            registry.save(model, f"{self.url}/{kind}/{version}")
        if verdict is not None:
            self.judge(kind, version, verdict)
        return version

    def judge(self, kind: Kind, version: str, verdict: Mapping[str, Any]) -> None:
        """Write down what a version was judged to be worth."""
        self._write(f"{kind}/{version}/{VERDICT}", {"verdict": dict(verdict)})

    def load(self, kind: Kind, version: str) -> TreesPredictor:
        """Read a version. Raises ModelError where it is absent, damaged, of another kind or another catalogue."""
        url = f"{self.url}/{kind}/{version}"
        with self._reached():
            model = registry.load(url, self._catalog)
        if (model.kind, model.card.version) != (kind, version):
            raise ModelError(f"{url} holds version {model.card.version} of kind {model.kind}: it was put there by hand")
        return model

    def versions(self, kind: Kind) -> tuple[Version, ...]:
        """Every version of a kind, those that cannot be used too; the latest learned first."""
        with self._reached() as (files, root):
            folder = f"{root}/{kind}"
            paths = files.ls(folder, detail=False) if files.exists(folder) else []
        names = [str(path).rstrip("/").rpartition("/")[2] for path in paths]
        found = [self._version(kind, name) for name in sorted(names) if name != CHAMPION and not name.startswith(".")]
        return tuple(sorted(found, key=lambda one: one.card.rows_until.isoformat() if one.card else "", reverse=True))

    def line(self, kind: Kind) -> Line:
        """All changes of champion. Raises ModelError for a damaged file."""
        body = self._read(f"{kind}/{CHAMPION}")
        try:
            told = [{**one, "at": datetime.fromisoformat(one["at"])} for one in body.get("line", ())]
            return Line(tuple(Promotion(**one) for one in told))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{self.url}/{kind}/{CHAMPION} cannot be read by this version: {error}") from error

    def promote(self, kind: Kind, version: str, who: str, why: str, at: datetime, request: int = 0) -> bool:
        """Let a version serve, once it has been read whole; False where it serves already."""
        self.load(kind, version)
        line = self.line(kind)
        if line.champion == version:
            return False
        self._change(kind, line, Promotion(version, at, who, why, request=request))
        return True

    def roll_back(self, kind: Kind, who: str, why: str, at: datetime, request: int = 0) -> str:
        """Let the champion before this one serve again; returns its version.

        Raises ModelError where there is none, or where it cannot be used any more.
        """
        line = self.line(kind)
        if len(line.standing) < 2:
            raise ModelError(f"no earlier champion of kind {kind} is in {self.url}: there is nothing to go back to")
        version = line.standing[-2]
        self.load(kind, version)
        self._change(kind, line, Promotion(version, at, who, why, back=True, request=request))
        return version

    def serving(self, kind: Kind) -> Serving:
        """The champion; where it cannot be used, the last one before it that can."""
        refused: list[str] = []
        for version in reversed(self.line(kind).standing):
            try:
                return Serving(self.load(kind, version), tuple(refused))
            except ModelError as error:
                refused.append(str(error))
        return Serving(None, tuple(refused))

    def _change(self, kind: Kind, line: Line, promotion: Promotion) -> None:
        kept = (*line.promotions, promotion)[-LINE_MAX:]
        told = [{**asdict(one), "at": one.at.isoformat()} for one in kept]
        self._write(f"{kind}/{CHAMPION}", {"line": told})

    def _version(self, kind: Kind, name: str) -> Version:
        try:
            return Version(
                kind, name, self.load(kind, name).card, self._read(f"{kind}/{name}/{VERDICT}").get("verdict", {})
            )
        except ModelError as error:
            return Version(kind, name, None, {}, str(error))

    # --- files ----------------------------------------------------------------------------------------

    @contextmanager
    def _reached(self) -> Iterator[tuple[Any, str]]:
        """The file system of the URL and the path on it, nothing of it remembered from before."""
        try:
            files, root = fsspec.url_to_fs(self.url)
            files.invalidate_cache()
            yield files, root
        except registry.unreached() as error:
            raise ModelError(f"the models in {self.url} cannot be reached: {error}") from error

    def _exists(self, path: str) -> bool:
        with self._reached() as (files, root):
            return bool(files.exists(f"{root}/{path}"))

    def _read(self, path: str) -> dict[str, Any]:
        """A sealed document; empty where there is none."""
        with self._reached() as (files, root):
            if not files.exists(f"{root}/{path}"):
                return {}
            written = files.cat_file(f"{root}/{path}")
        try:
            body = json.loads(written)
            seal = body.pop("seal")
        except (ValueError, AttributeError, KeyError) as error:
            raise ModelError(f"{self.url}/{path} cannot be read") from error
        if body.get("format") != FORMAT or seal != _seal(body):
            raise ModelError(f"{self.url}/{path} is damaged: its checksum does not hold")
        return dict(body)

    def _write(self, path: str, body: Mapping[str, Any]) -> None:
        told = {"format": FORMAT, **body}
        written = json.dumps({**told, "seal": _seal(told)}, indent=1).encode()
        with self._reached() as (files, root):
            if "file" in files.protocol:
                write_whole(Path(root) / path, written)
            else:
                files.pipe_file(f"{root}/{path}", written)


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
