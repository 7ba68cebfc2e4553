"""A fit as a table for people."""

from __future__ import annotations

from collections import Counter

from rich.markup import escape
from rich.table import Table

from rigpose.live.prediction.fitted import KeypointFit, LeadFit, MotionFit


def table(fit: MotionFit) -> Table:
    """Keypoints down, leads across: how far off the last place is, how far the better model, and what runs."""
    drawn = Table(title=f"{escape(fit.recording)}: error of the last place > of the best model (px), and what will run")
    drawn.add_column("keypoint", no_wrap=True)
    drawn.add_column("jitter", justify="right", no_wrap=True)
    for lead in fit.leads:
        drawn.add_column(f"{1000 * lead:g} ms", justify="right", no_wrap=True)
    for keypoint in fit.keypoints:
        drawn.add_row(escape(keypoint.name), f"{keypoint.noise:.1f}", *map(_cell, keypoint.leads))
    return drawn


def sentences(fit: MotionFit) -> list[str]:
    """What the table means."""
    moved = [(keypoint, each) for keypoint in fit.keypoints for each in keypoint.leads if each.predicts]
    cells = len(fit.keypoints) * len(fit.leads)
    said = [
        f"{fit.frames} frames, {fit.seconds:.0f} s, mostly {1000 * fit.interval:.1f} ms apart; animals: {fit.animals}.",
        "Models were chosen on the first half and judged on the second.",
        f"{len(moved)} of {cells} will be predicted; for the others the last place is held.",
    ]
    held = Counter(each.why for keypoint in fit.keypoints for each in keypoint.leads if each.why)
    said += [f"{count} of {cells} are held: {why}." for why, count in held.most_common()]
    if moved:
        keypoint, best = min(moved, key=_ratio)
        said.append(f"The largest gain is that of {keypoint.name} at {1000 * best.lead:g} ms: {_px(best)}.")
    return said


def _ratio(of: tuple[KeypointFit, LeadFit]) -> float:
    hold, model = of[1].hold_px, of[1].model_px
    return model / hold if hold and model is not None else 1.0


def _cell(each: LeadFit) -> str:
    if each.hold_px is None:
        return "[dim]not seen[/dim]"
    return f"{_px(each)} [bold]{each.model}[/bold]" if each.predicts else f"[dim]{_px(each)}[/dim] hold"


def _px(each: LeadFit) -> str:
    return f"{each.hold_px:.1f} > {each.model_px:.1f}"
