"""The frame around every screen: header with tabs, banner, footer. Pure functions of what is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from rich.cells import cell_len

from labtui.text import clean, enough, fit
from labtui.tui.actions import SCREENS, Keymap, key_name, on_pane
from labtui.tui.poller import Common
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span, crop, ends, linked, size, thin_bar
from labtui.views.signs import STATE_SIGN, state_style
from store.states import ENDED_STATES

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
            link = " @next_failed" if state == "failed" else ""
            sign, word = STATE_SIGN[state], state
            if state == "running" and n and not common.supervised:
                sign, word, style = "‖", "stopped", state_style("paused")
            told = f"{figures.exact(n)} {word}  " if width >= 100 else f"{figures.exact(n)}  "
            right += [(f"{sign} ", style + link), (told, style + link)]
    right += [*supervisor_spans(common), (" ", "")]
    room = width - size(tuple(right)) - size(flag) - 10
    full, name = clean(str(path)), clean(path.name)
    shown = full if len(full) <= room else fit(name, min(cell_len(name), max(0, room)))
    return ends(((" labtui ", "title"), (shown, "dim"), *flag), tuple(right), width)


def supervisor_spans(common: Common) -> Line:
    """Say how the supervisor is in a word or two: the header has no room for a sentence."""
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


def tab_line(current: str, keymap: Keymap, width: int, *, typing: bool = False) -> Line:
    """The screens and their keys; the one in front stands out. While plain keys are ``typing``, the keys of
    screens are dim: they write digits.
    """
    names = {s: TITLES[s] for s in SCREENS}
    if width < 76:
        names = {s: t if s == current else t[:3] for s, t in names.items()}
    after = " " if width >= 84 else ""  # nine names in full take 83 cells
    spans: list[Span] = []
    for screen in SCREENS:
        keys = keymap.keys[f"show_{screen}"]
        key = next((k for k in keys if k.isdecimal()), keymap.name(f"show_{screen}"))
        hot = screen == current
        ink = "dim" if typing else "key"
        spans.append((f" {key} ", f"{'tab ' if hot else ''}{ink} @show_{screen}"))
        spans.append((f"{names[screen]}{after}", f"{'tab' if hot else 'dim'} @show_{screen}"))
    return crop(tuple(spans), width)


def footer_line(
    pane: str,
    keymap: Keymap,
    width: int,
    valid: frozenset[str],
    message: tuple[str, str] | None,
    words: Mapping[str, str] | None = None,
) -> Line:
    """The keys that matter here; before them, for a moment, what just happened: it leaves as many keys as
    there is room for. ``words``: what actions are called here.
    """
    words = words or {}
    chosen = sorted(
        (
            a
            for a in on_pane(pane)
            if a.footer and a.id in valid and a.id != f"show_{pane}" and (not a.only or pane in a.only)
        ),
        key=lambda a: a.footer,
    )
    told: Line = ((" ", ""),) if message is None else ((f" {message[0]}   ", message[1]),)
    parts: list[tuple[int, Line]] = []
    room = width - size(told)
    ordered = [a for a in chosen if a.footer >= 10] + [a for a in chosen if a.footer < 10]
    for action in ordered:
        label = words.get(action.id, action.word(pane))
        part: Line = (
            (_typed(keymap, pane, action.id), f"key @{action.id}"),
            (f" {label}  ", f"dim @{action.id}"),
        )
        if size(part) <= room:
            parts.append((action.footer, part))
            room -= size(part)
    left = [p for rank, p in sorted(parts, key=lambda x: x[0]) if rank < 10]
    right = [p for rank, p in sorted(parts, key=lambda x: x[0]) if rank >= 10]
    return ends((*told, *(s for p in left for s in p)), tuple(s for p in right for s in p), width)


def _typed(keymap: Keymap, pane: str, action_id: str) -> str:
    """The key of an action; on New, where plain keys are typing, one that is none."""
    if pane == "new":
        keys = [k for k in keymap.keys[action_id] if len(k) > 1 and k not in ("question_mark", "ctrl+c")]
        if keys:
            return key_name(keys[0])
    return keymap.name(action_id)


def study_strip(common: Common, chosen: int | None, width: int) -> Line:
    """All studies with how far they are, the chosen one lit;
    those that do not fit are counted, not hidden.
    """
    spans: list[Span] = [(" all ", f"{'tab' if chosen is None else 'dim'} @study:"), ("  ", "")]
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
        ended = sum(study.counts.get(s, 0) for s in ENDED_STATES)
        hot = study.id == chosen
        name = enough(clean(study.name), 24)
        part: Line = linked(
            (
                (f" {fit(name, min(24, cell_len(name)))} ", "tab" if hot else "fg"),
                *thin_bar(ended / total if total else 0.0, 8, "ok" if ended == total else "accent"),
                (f" {figures.exact(ended)}/{figures.exact(total)}  ", "dim"),
            ),
            f"study:{study.id}",
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
