"""From intervals and margins to verdicts, corrected for how many claims a study judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from mmrobust.claims.estimates import Estimate

Verdict = Literal["reproduced", "contradicted", "inconclusive", "missing"]


class Judgement(NamedTuple):
    """A verdict and the confidence, corrected for the number of claims, at which it was reached."""

    verdict: Verdict
    confidence: float


def verdict(estimate: Estimate, margin: float) -> Verdict:
    """Verdict on "the statistic exceeds the margin"; bounds that touch the margin don't decide.

    With one training seed the interval is over test images alone and the verdict about that
    training run. With several it resamples them too, and they must all lie on its side of the
    margin: a few seeds are too few for a bootstrap, which can't reach beyond the lowest and the
    highest of them, so that its confidence holds where seeds differ less than images do
    (`benchmarks/claim_coverage.py`).

    Args:
        estimate: of the statistic; what is undefined decides nothing.
        margin: fixed, with the claim, before the first test run.
    """
    interval = estimate.interval
    if interval is None:
        return "inconclusive"
    if interval.low > margin and min(estimate.per_seed) > margin:
        return "reproduced"
    if interval.high < margin and max(estimate.per_seed) < margin:
        return "contradicted"
    return "inconclusive"


def holm(
    judge: Sequence[Callable[[float], Verdict]], *, confidence: float, beside: int = 0
) -> list[Judgement]:
    """Verdicts on several claims that are all right at once, as far as each interval holds.

    The step-down procedure of Holm 1979 (Scandinavian Journal of Statistics 6, 65-70), by
    intervals in place of p-values: with m claims open each is judged at error alpha / m; those
    decided leave, and the others are judged again until none is decided.

    Args:
        judge: of each claim, the verdict at a confidence; undecided at one, it is undecided at
            any higher.
        confidence: of all verdicts together, in (0, 1).
        beside: claims of the same family that are not judged here. They count as open to the end,
            so that what is decided here is decided too where all are judged.
    """
    found: dict[int, Judgement] = {}
    open_claims = list(range(len(judge)))
    while open_claims:
        level = 1 - (1 - confidence) / (len(open_claims) + beside)
        reached = {at: Judgement(judge[at](level), level) for at in open_claims}
        decided = {at: of for at, of in reached.items() if of.verdict != "inconclusive"}
        found |= decided or reached
        open_claims = [at for at in open_claims if at not in found]
    return [found[at] for at in range(len(judge))]
