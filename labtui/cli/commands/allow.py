"""``labtui allow JOB``: show what a program job would run, ask, and let it run on this machine.

The whole command, its folder, files and values are shown first (docs/programs.md).
"""

from __future__ import annotations

from labtui.cli import asking
from labtui.cli.arguments import JOBS, WHOLE_STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.cli.send import chosen_jobs
from labtui.views.program import program_lines, waiting_for_word
from runners.programs import consent


def arguments(parser: Parser) -> None:
    """Take jobs, or a whole study."""
    parser.add_argument("jobs", **JOBS)
    parser.add_argument("--study", **WHOLE_STUDY)
    parser.add_argument("--yes", action="store_true", help="do not ask: what is shown may run")
    parser.runs(run, writes=True, example="7")


def run(context: Context) -> None:
    """Show the command and the files; ask; remember the answer in the user's own folder."""
    from runners.spec import Job  # loads pydantic

    jobs = []
    for row in context.lab.jobs(chosen_jobs(context)):
        try:
            job = Job.from_json(context.lab.job_spec(row.id))
        except ValueError:
            raise BadInput(
                f"the spec of job {row.id} is damaged or of a later labtui; expected a program"
            ) from None
        if job.program is None:
            raise BadInput(f"job {row.id} runs no program; expected one that needs a word")
        if changed := consent.changed_files(job):
            raise BadInput(
                f"job {row.id} was queued with another {changed[0]} in {job.program.cwd}; "
                "expected the same file, or its spec submitted again"
            )
        jobs.append(job)
    wanted = waiting_for_word(jobs)
    if not wanted:
        context.say("allowed already")
        return
    if context.args.yes:
        for line in program_lines(wanted):
            context.say(line)
    if not asking.allow(context, wanted, sure=context.args.yes):
        raise BadInput("nothing is allowed; expected yes, or --yes where nobody can be asked")
    context.say(f"{len(wanted)} searches may run here; kept in {consent.allowed_file()}")
