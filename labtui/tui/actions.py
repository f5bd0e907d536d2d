"""The one registry of what a person can do: footer, help, palette and keys all come from here.

An action has a stable id, so that keys can be given to it in the config file (``[keys]``) or by
``LABTUI_KEY_<ID>``. Its handler is the method ``do_<id>`` of the screen in front, or else of the app; whether
it is valid now is ``can_<id>``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.binding import Binding

RESERVED = frozenset({"ctrl+b", "ctrl+a"})
"""Prefixes of tmux and screen: never ours by default."""

SCREENS = ("queue", "job", "kappa", "scaling", "trials", "new", "compare", "events", "paper")
"""The screens, in the order of their keys."""


@dataclass(frozen=True)
class Action:
    """Something that a key, the palette or a click does."""

    id: str
    keys: tuple[str, ...]
    label: str
    """One word for the footer."""
    help: str
    """What it does, for help and palette."""
    group: str
    panes: tuple[str, ...] = ()
    """The screens that have it; empty: all."""
    footer: int = 0
    """Place in the footer, small ones stay longest; 0: not there."""
    writes: bool = False
    """Changes the lab: not offered where it is read-only."""
    palette: bool = True
    only: tuple[str, ...] = ()
    """The screens in whose footer it stands; empty: all that have it."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The word for it on a screen where the general one would say something else."""

    def word(self, pane: str) -> str:
        """What it is called on a screen."""
        return self.labels.get(pane, self.label)

    def palette_word(self, pane: str) -> str:
        """What a list of everything calls it: its id where another action has the same word."""
        word = self.word(pane)
        twins = [a for a in on_pane(pane) if a.palette and a.word(pane) == word]
        return word if len(twins) < 2 else self.id.removeprefix("show_").replace("_", " ")


_JOBS = ("queue", "job")
_LISTS = ("queue", "trials", "events")
_PAGED = ("queue", "kappa", "scaling", "job", "trials")

ACTIONS: tuple[Action, ...] = (
    # Screens
    Action(
        "show_queue", ("1",), "Queue", "Queue: what is running, what is next, when is it done?", "Screens"
    ),
    Action("show_job", ("2",), "Job", "Job: how is it closing in?", "Screens"),
    Action("show_kappa", ("3",), "Kappa", "Kappa: who shares, who doesn't?", "Screens"),
    Action("show_scaling", ("4",), "Scaling", "Scaling: how does it grow?", "Screens"),
    Action("show_trials", ("5",), "Trials", "Trials: every training run", "Screens"),
    Action("show_new", ("n", "6"), "new", "New: submit a preset, a study or a search", "Screens", footer=4),
    Action("show_compare", ("7",), "Compare", "Compare: two jobs, or two labs, side by side", "Screens"),
    Action("show_events", ("8",), "Events", "Events: what happened while you were away", "Screens"),
    Action("show_paper", ("9",), "Paper", "Paper: does it hold?", "Screens"),
    # Moving
    Action("up", ("k", "up"), "up", "one up", "Move", palette=False),
    Action("down", ("j", "down"), "down", "one down", "Move", palette=False),
    Action("left", ("h", "left"), "left", "one to the left", "Move", palette=False),
    Action("right", ("l", "right"), "right", "one to the right", "Move", palette=False),
    Action("page_down", ("pagedown", "ctrl+f", "space"), "page", "a page down", "Move", palette=False),
    Action("page_up", ("pageup",), "page", "a page up", "Move", palette=False),
    Action("half_down", ("ctrl+d",), "half", "half a page down", "Move", palette=False),
    Action("half_up", ("ctrl+u",), "half", "half a page up", "Move", palette=False),
    Action("home", ("g", "home"), "top", "to the first", "Move", palette=False),
    Action("end", ("G", "end"), "end", "to the last", "Move", palette=False),
    Action(
        "next_panel",
        ("tab",),
        "panel",
        "the next panel, page or series",
        "Move",
        footer=3,
        palette=False,
        labels={"kappa": "page", "scaling": "next line"},
    ),
    Action(
        "prev_panel", ("shift+tab",), "panel", "the previous panel, page or series", "Move", palette=False
    ),
    Action(
        "open",
        ("enter",),
        "open",
        "open what the cursor is on",
        "Move",
        footer=1,
        palette=False,
        labels={
            "job": "trials",
            "trials": "job",
            "kappa": "parts",
            "scaling": "job",
            "events": "job",
            "paper": "job",
        },
    ),
    Action(
        "back",
        ("escape",),
        "back",
        "one layer back: prompt, filter, marks, screen",
        "Move",
        footer=2,
        palette=False,
        only=("new",),
        labels={"new": "leave"},
    ),
    # Looking
    Action(
        "filter", ("/",), "filter", "filter: state:running model:lstm L>=10 kappa<1", "Look", _LISTS, footer=3
    ),
    Action("sort", ("o",), "sort", "choose the order from a list", "Look", ("queue", "trials")),
    Action("reverse", ("O",), "reverse", "turn the order round", "Look", ("queue", "trials")),
    Action(
        "prev_study",
        ("[",),
        "study",
        "the previous study, page or job",
        "Look",
        _PAGED,
        labels={"job": "previous job", "kappa": "previous study"},
    ),
    Action(
        "next_study",
        ("]",),
        "study",
        "the next study, page or job",
        "Look",
        _PAGED,
        6,
        labels={"job": "next job"},
    ),
    Action("next_failed", ("!",), "failed", "to the next job that failed", "Look", ("queue",), 8),
    Action(
        "axes", ("v",), "axes", "other axes for rows and columns, or for x", "Look", ("kappa", "scaling"), 2
    ),
    Action(
        "choose_axes", ("a",), "any axes", "choose any two axes for rows and columns", "Look", ("kappa",), 3
    ),
    Action("toggle_series", ("s",), "hide", "show or hide this line", "Look", ("scaling",), 3),
    Action("zoom_in", ("z",), "zoom", "zoom in around the cursor", "Look", ("scaling",), 5),
    Action("zoom_out", ("Z",), "zoom out", "zoom out", "Look", ("scaling",)),
    Action(
        "all_events", ("v",), "all", "show every candidate too, or only what matters", "Look", ("events",), 2
    ),
    Action("job_trials", ("T",), "trials", "the trials of this job", "Look", _JOBS),
    Action("curve", ("c",), "curve", "show or hide the loss curve of this trial", "Look", ("trials",), 2),
    Action("follow", ("f",), "follow", "follow the end of the log", "Look", ("job",)),
    Action(
        "compare",
        ("C",),
        "compare",
        "compare the two marked jobs, or this one with the last opened",
        "Look",
        _JOBS,
    ),
    Action("other_lab", ("L",), "lab", "compare with another lab file", "Look", ("compare",), 2),
    # Marking
    Action("mark", ("m",), "mark", "mark or unmark, for verbs on many", "Mark", ("queue",), 5),
    Action("mark_all", ("M",), "mark all", "mark everything that the filter shows", "Mark", ("queue",)),
    # Verbs
    Action("pause", ("p",), "pause", "pause: checkpoint and stop, to go on later", "Jobs", _JOBS, 2, True),
    Action("resume", ("r",), "resume", "resume what is paused", "Jobs", _JOBS, 2, True),
    Action("cancel", ("x",), "cancel", "cancel; undone by u while it can be", "Jobs", _JOBS, 2, True),
    Action("retry", ("R",), "retry", "queue again what failed or was cancelled", "Jobs", _JOBS, 2, True),
    Action("undo", ("u",), "undo", "take back the last cancel, archive or delete", "Jobs", writes=True),
    Action(
        "raise_priority", ("plus", "+"), "priority+", "raise the priority by one", "Jobs", _JOBS, writes=True
    ),
    Action(
        "lower_priority", ("minus", "-"), "priority-", "lower the priority by one", "Jobs", _JOBS, writes=True
    ),
    Action("move_first", ("F",), "first", "to the front of its priority", "Jobs", ("queue",), writes=True),
    Action("note", ("N",), "note", "write a note on it", "Jobs", _JOBS, writes=True),
    Action("tag", ("t",), "tag", "set its tags", "Jobs", _JOBS, writes=True),
    Action(
        "archive", ("A",), "archive", "archive: out of sight, kept; undone by u", "Jobs", _JOBS, writes=True
    ),
    Action("delete", ("D",), "delete", "delete; undone by u", "Jobs", _JOBS, writes=True),
    Action(
        "study_verbs",
        ("V",),
        "verbs",
        "a verb on all jobs that are shown",
        "Jobs",
        ("queue",),
        9,
        True,
    ),
    # New
    Action("submit", ("ctrl+s",), "submit", "submit it to the queue", "New", ("new",), 1, True),
    Action("load_preset", ("ctrl+o",), "preset", "start from a preset or a file", "New", ("new",), 2),
    Action("edit_toml", ("ctrl+e",), "editor", "edit the TOML in $EDITOR", "New", ("new",), 3),
    Action("save_toml", ("ctrl+w",), "save", "write the TOML to a file", "New", ("new",), 4),
    # The lab
    Action("start_supervisor", ("S",), "start", "start the supervisor", "Lab", writes=True),
    Action("hold", ("H",), "hold", "hold: start nothing new; again: go on", "Lab", writes=True),
    Action("switch_lab", ("ctrl+l",), "lab", "open another lab", "Lab"),
    Action(
        "copy", ("y",), "copy", "copy what the cursor is on (OSC 52); w writes it to a file instead", "Lab"
    ),
    Action("write_file", ("w",), "write", "write this screen as text to a file", "Lab"),
    Action("archived", ("a",), "archived", "show what is archived, or hide it", "Look", ("queue",)),
    Action(
        "devices", ("d",), "devices", "each card, and who else uses it: pid, user, memory", "Look", ("queue",)
    ),
    Action("theme", ("ctrl+t",), "theme", "the next theme: dark, light, ANSI", "Lab"),
    Action("bell", (), "bell", "ring or stay silent when something finishes", "Lab"),
    Action("redraw", ("ctrl+r",), "redraw", "draw the screen again", "Lab"),
    Action("suspend", ("ctrl+z",), "suspend", "back to the shell; fg returns", "Lab"),
    Action(
        "palette",
        ("ctrl+p", ":"),
        "palette",
        "everything that can be done here",
        "Lab",
        footer=10,
        palette=False,
    ),
    Action("help", ("question_mark", "?", "f1"), "help", "the keys of this screen", "Lab", footer=11),
    Action("quit", ("q", "ctrl+q", "ctrl+c"), "quit", "quit; the work goes on", "Lab", footer=12),
)
BY_ID = {action.id: action for action in ACTIONS}
_NAMES = {
    "question_mark": "?", "escape": "esc", "pagedown": "pgdn", "pageup": "pgup", "plus": "+", "minus": "-",
    "up": "↑", "down": "↓", "left": "←", "right": "→", "left_square_bracket": "[",
    "right_square_bracket": "]", "slash": "/", "colon": ":",
}  # fmt: skip


WHY_NOT = {
    "pause": "takes queued or running jobs",
    "resume": "takes paused jobs",
    "cancel": "takes queued, running or paused jobs",
    "retry": "takes failed or cancelled jobs",
    "move_first": "takes queued or paused jobs",
    "undo": "nothing to take back",
    "compare": "mark two jobs first",
    "next_failed": "no job has failed",
    "start_supervisor": "one is at work already",
}
"""Why an action is not valid, where its name alone does not tell."""
_MODIFIERS = ("ctrl", "shift", "alt", "meta", "super", "hyper")
_KEYS = frozenset(
    [
        "escape",
        "enter",
        "tab",
        "space",
        "backspace",
        "delete",
        "insert",
        "home",
        "end",
        "pageup",
        "pagedown",
        "up",
        "down",
        "left",
        "right",
        "plus",
        "minus",
    ]
) | {f"f{n}" for n in range(1, 25)}


def key_problem(key: str) -> str:
    """Why no terminal sends such a key, as the end of a sentence; empty: it may."""
    *modifiers, last = key.split("+") if key != "+" else ["plus"]
    known = (len(last) == 1 and last.isprintable() and not last.isspace()) or last in _KEYS or _is_sign(last)
    if any(m not in _MODIFIERS for m in modifiers) or not known or len(set(modifiers)) < len(modifiers):
        return "which is no key; expected one such as P, f5, ctrl+p or shift+tab, in small letters"
    return ""


def _is_sign(name: str) -> bool:
    """Whether it is Textual's name of a sign: question_mark, left_square_bracket."""
    import unicodedata

    words = name.replace("_", " ").upper()
    if name != name.lower():
        return False
    for text in (words, words.replace(" ", "-"), f"{words} SIGN"):
        try:
            return len(unicodedata.lookup(text)) == 1
        except KeyError:
            continue
    return name in {*_NAMES, "slash", "at", "minus", "underscore", "percent_sign", "hash"}


def apart(first: str, second: str) -> bool:
    """Whether two actions may have the same key: they share no screen, or one is of all screens and gives
    way.
    """
    a, b = BY_ID[first].panes, BY_ID[second].panes
    return bool(a) != bool(b) or (bool(a) and not set(a) & set(b))


def key_name(key: str) -> str:
    """A key as a person knows it: ``ctrl+p`` -> ``^p``."""
    if key.startswith("ctrl+"):
        return "^" + key[5:]
    return _NAMES.get(key, key)


class Keymap:
    """Keys to actions, with the user's own keys in place of the given ones."""

    def __init__(self, changes: Mapping[str, Iterable[str]] | None = None) -> None:
        """
        Raises:
            ValueError: an unknown action, in one sentence.
        """
        own = {k: tuple(v) for k, v in (changes or {}).items()}
        for name in own:
            if name not in BY_ID:
                raise ValueError(
                    f"keys.{name} is no action; expected one of those that ? shows, "
                    "such as pause or show_queue"
                )
        self.keys: dict[str, tuple[str, ...]] = {a.id: own.get(a.id, a.keys) for a in ACTIONS}
        taken = {key for keys in own.values() for key in keys}
        for action_id, keys in self.keys.items():
            if action_id not in own:
                self.keys[action_id] = tuple(k for k in keys if k not in taken)

    def name(self, action_id: str) -> str:
        """The first key of an action, as a person knows it; empty where it has none."""
        keys = self.keys[action_id]
        return key_name(keys[0]) if keys else ""

    def names(self, action_id: str) -> str:
        """All keys of an action."""
        return " ".join(dict.fromkeys(key_name(k) for k in self.keys[action_id]))


def on_pane(pane: str) -> list[Action]:
    """The actions of one screen, and those of all."""
    return [a for a in ACTIONS if not a.panes or pane in a.panes]


def bindings(keymap: Keymap) -> list[Binding]:
    """The registry as Textual's bindings, their ids the actions'; those of one screen go before those of all.

    Two screens may give one key to different actions, and a person may take a key away. ``App.set_keymap``
    knows neither (it forgets all bindings of a key that is moved): the keys are settled in :class:`Keymap`.
    """
    from textual.binding import Binding

    return [
        Binding(",".join(dict.fromkeys(map(long_name, keys))), f"app.perform({a.id!r})", a.label, id=a.id)
        for a in sorted(ACTIONS, key=lambda a: not a.panes)
        if (keys := keymap.keys[a.id])
    ]


def long_name(key: str) -> str:
    """Textual's name of a key that is written as its sign: a comma would part two keys."""
    from textual.keys import _character_to_key

    return _character_to_key(key) if len(key) == 1 else key
