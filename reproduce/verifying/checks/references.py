"""The converted networks beside outputs that others have published for the very same weights."""

from __future__ import annotations

from predict_diff.errors import ConfigurationError

from ...reference_outputs import reference_cases, reference_checks
from ..material import Material
from ..measurement import Measurement, NotMeasurableError
from ..registry import check


@check("references")
def references(material: Material, case: str) -> Measurement:
    """The difference that comes closest to the publisher's own tolerance, or goes farthest beyond, in tolerances.

    Exact. Null: other weights, or a wrong conversion, are thousands of tolerances off.

    Parameters
    ----------
    case : str
        A name in reference_outputs.yaml.
    """
    chosen = [known for known in reference_cases() if known.name == case]
    if not chosen:
        raise ConfigurationError(f"case: expected one of reference_outputs.yaml, found '{case}'; correct claims.yaml")
    classifier = material.classifier(chosen[0].network)
    (found,) = reference_checks(chosen[0].network, material.references, material.request.engine, chosen)
    if found.in_tolerances is None:
        raise NotMeasurableError(found.reason)
    return Measurement(
        found.in_tolerances,
        unit="tolerances",
        detail=f"{classifier.card.title}, {found.blob}: largest difference {found.largest_difference:.2g} (tolerance "
        f"{found.tolerance:.2g}), mean {found.mean_difference:.2g}; {found.source}",
    )
