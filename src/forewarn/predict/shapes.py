"""The shapes of recordings that models learn from, told apart by their columns, and the columns that each shape gives.

Drives and a site's own parts are asked through the catalogue that serves live. The columns of DIMM tables and outage
logs are computed by nobody live yet: a model that learned from them is judged, never served (`SERVED`).
"""

from enum import StrEnum
from pathlib import Path

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.errors import ConfigurationError
from forewarn.features.dimm_columns import DIMM_CATALOG
from forewarn.features.outage_columns import OUTAGE_CATALOG
from forewarn.predict.site_rows import is_site_rows
from forewarn.store.dimms import is_dimm_table
from forewarn.store.outages import LEARNABLE, is_outage_log


class Shape(StrEnum):
    """What a recording tells of."""

    DRIVES = "drives"
    DIMMS = "corrected errors of DIMMs"
    OUTAGES = "outage log"
    SITE = "telemetry of a site"


KINDS = {Shape.DRIVES: (Kind.DISK,), Shape.DIMMS: (Kind.MEMORY,), Shape.OUTAGES: LEARNABLE, Shape.SITE: COMPONENT_KINDS}
LEARNED_KINDS = tuple(dict.fromkeys(kind for kinds in KINDS.values() for kind in kinds))
SERVED = (Shape.DRIVES, Shape.SITE)


def shape_of(path: Path, kind: Kind) -> Shape:
    """The shape of a recording. Raises ConfigurationError where that shape tells nothing of `kind`."""
    if is_site_rows(path):
        return Shape.SITE
    shape = Shape.OUTAGES if is_outage_log(path) else Shape.DIMMS if is_dimm_table(path) else Shape.DRIVES
    if kind not in KINDS[shape] and (shape is not Shape.DRIVES or path.exists()):
        raise ConfigurationError(
            f"no model learns kind {kind} from {path} ({shape}); expected {', '.join(KINDS[shape])}"
        )
    return shape


def catalog_of(shape: str, live: Catalog) -> Catalog:
    """The catalogue that says what a model's columns mean; `live` for those that are served."""
    return {Shape.DIMMS: DIMM_CATALOG, Shape.OUTAGES: OUTAGE_CATALOG}.get(Shape(shape), live)
