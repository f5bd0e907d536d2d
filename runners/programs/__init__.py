"""Programs as trials: any command, or a Python function (docs/programs.md). No torch."""
