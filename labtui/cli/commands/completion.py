"""``labtui completion``: what a shell reads to complete commands, options, jobs and studies.

``source <(labtui completion bash)`` in ~/.bashrc; the same with zsh in ~/.zshrc, after compinit; ``labtui
completion fish > ~/.config/fish/completions/labtui.fish``.
"""

from __future__ import annotations

from labtui.cli.arguments import Parser
from labtui.cli.completion import SHELLS, script
from labtui.cli.context import Context

HOW = {
    "bash": "add to ~/.bashrc: source <(labtui completion bash)",
    "zsh": "add to ~/.zshrc, after compinit: source <(labtui completion zsh)",
    "fish": "keep it: labtui completion fish > ~/.config/fish/completions/labtui.fish",
}


def arguments(parser: Parser) -> None:
    """Take which shell."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.runs(run, example="bash")


def run(context: Context) -> None:
    """Print the script; on a terminal tell where it goes."""
    context.lines(script(context.args.shell).splitlines())
    if context.out.isatty():
        context.say(HOW[context.args.shell])
