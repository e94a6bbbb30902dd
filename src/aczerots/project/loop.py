"""One turn of the loop with people: propose, wait for their answers, fit."""

from __future__ import annotations

import time

from aczerots.project.bench import Running
from aczerots.project.folder import Project
from aczerots.project.rounds import Fitted, fit_round, propose_round
from aczerots.project.status import next_step


def go_round(project: Project, running: Running, every: float) -> Fitted:
    """Propose a round unless one is open, wait until every tile has its answer, and fit.

    Answers may come from anywhere: the page, ``ingest``, another machine. Stopping while it waits loses nothing.

    Args:
        project: The project.
        running: How to compute.
        every: Seconds between looks at the answers.

    Raises:
        AczerotsError: As :func:`propose_round` and :func:`fit_round`.
    """
    proposal = propose_round(project, running)
    running.progress.say(f"round {proposal.number}: waits for the answers. {next_step(project)}")
    while True:
        asked, left = _left(project, proposal.number)
        running.progress.step("annotate", asked - left, asked)
        if not left:
            return fit_round(project, running)
        time.sleep(every)


def _left(project: Project, number: int) -> tuple[int, int]:
    """(answers wanted, answers still wanted) in a round."""
    one = next(r for r in project.store.progress().rounds if r.number == number)
    return one.asked, one.left
