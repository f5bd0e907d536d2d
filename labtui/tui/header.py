"""The frame around every screen: header with tabs, banner, footer. Pure functions of what is known."""

from __future__ import annotations

from pathlib import PurePath

from rich.cells import cell_len

from labtui.text import clean, fit
from labtui.tui.actions import SCREENS, Keymap, on_pane
from labtui.tui.poller import Common
from labtui.views.lines import Line, Span, crop, ends, size, thin_bar
from labtui.views.signs import STATE_SIGN, state_style

TITLES = {name: name.capitalize() for name in SCREENS}


def title_line(lab_path: str, common: Common | None, width: int) -> Line:
    """The lab at the left, what its supervisor and its jobs do at the right."""
    path = PurePath(lab_path)
    flag: Line = (("  read-only", "warn"),) if common is not None and common.read_only else ()
    if common is None:
        return crop(((" labtui ", "title"), (clean(str(path)), "dim")), width)
    right: list[Span] = []
    for state in ("running", "queued", "paused", "failed", "done"):
        n = common.counts.get(state, 0)
        if n or state in ("running", "queued"):
            style = state_style(state) if n else "dim"
            right += [
                (f"{STATE_SIGN[state]} ", style),
                (f"{n} {state}  " if width >= 100 else f"{n}  ", style),
            ]
    right += [*supervisor_spans(common), (" ", "")]
    room = width - size(tuple(right)) - size(flag) - 10
    full, name = clean(str(path)), clean(path.name)
    shown = full if len(full) <= room else fit(name, min(cell_len(name), max(0, room)))
    return ends(((" labtui ", "title"), (shown, "dim"), *flag), tuple(right), width)


def supervisor_spans(common: Common) -> Line:
    row = common.supervisor
    if row is None or not row.alive:
        return (("◌ no supervisor", "dim"),)
    words = {
        "running": "at work",
        "holding": "holding",
        "draining": "draining",
        "waiting": "waiting",
        "stopped": "stopped",
    }
    idle = row.state == "running" and not common.counts.get("running", 0)
    return (("● ", "ok" if row.state == "running" else "warn"), ("idle" if idle else words[row.state], "dim"))


def tab_line(current: str, keymap: Keymap, width: int) -> Line:
    """The screens and their keys; the one in front stands out."""
    names = {s: TITLES[s] for s in SCREENS}
    if width < 76:
        names = {s: t if s == current else t[:3] for s, t in names.items()}
    spans: list[Span] = []
    for screen in SCREENS:
        keys = keymap.keys[f"show_{screen}"]
        key = next((k for k in keys if k.isdecimal()), keymap.name(f"show_{screen}"))
        hot = screen == current
        spans.append((f" {key} ", "tab key" if hot else "key"))
        spans.append((f"{names[screen]} ", "tab" if hot else "dim"))
    return crop(tuple(spans), width)


def footer_line(
    pane: str, keymap: Keymap, width: int, valid: frozenset[str], message: tuple[str, str] | None
) -> Line:
    """The keys that matter here, or for a moment what just happened."""
    if message is not None:
        text, style = message
        return crop(((" ", ""), (text, style)), width)
    chosen = sorted(
        (a for a in on_pane(pane) if a.footer and a.id in valid and a.id != f"show_{pane}"),
        key=lambda a: a.footer,
    )
    parts: list[tuple[int, Line]] = []
    room = width - 1
    ordered = [a for a in chosen if a.footer >= 10] + [a for a in chosen if a.footer < 10]
    for action in ordered:
        part: Line = ((keymap.name(action.id), "key"), (f" {action.label}  ", "dim"))
        if size(part) <= room:
            parts.append((action.footer, part))
            room -= size(part)
    left = [p for rank, p in sorted(parts, key=lambda x: x[0]) if rank < 10]
    right = [p for rank, p in sorted(parts, key=lambda x: x[0]) if rank >= 10]
    return ends(((" ", ""), *(s for p in left for s in p)), tuple(s for p in right for s in p), width)


def study_strip(common: Common, chosen: int | None, width: int) -> Line:
    """All studies with how far they are, the chosen one lit;
    those that do not fit are counted, not hidden.
    """
    spans: list[Span] = [(" all ", "tab" if chosen is None else "dim"), ("  ", "")]
    studies = [s for s in common.studies if not s.archived]
    start = next((i for i, s in enumerate(studies) if s.id == chosen), 0)
    # The chosen study is always among those shown.
    first = max(0, start - 2)
    if first:
        spans.append((f"‹{first} ", "faint"))
    room = width - size(tuple(spans)) - 8
    shown = 0
    for study in studies[first:]:
        total = sum(study.counts.values())
        ended = sum(study.counts.get(s, 0) for s in ("done", "failed", "cancelled"))
        hot = study.id == chosen
        part: Line = (
            (f" {clean(study.name)[:24]} ", "tab" if hot else "fg"),
            *thin_bar(ended / total if total else 0.0, 8, "ok" if ended == total else "accent"),
            (f" {ended}/{total}  ", "dim"),
        )
        if size(part) > room:
            break
        spans += part
        room -= size(part)
        shown += 1
    hidden = len(studies) - first - shown
    if hidden > 0:
        spans.append((f"+{hidden} ›", "dim"))
    return crop(tuple(spans), width)
