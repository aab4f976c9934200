"""Views of one to three layers against plain dictionaries, over LMDB and its twin: the machine of the Cortex's tests, longer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).parents[2] / "services" / "cortex" / "tests" / "views"))
from test_view_machine import MemoryViewMachine, ViewMachine


@pytest.mark.parametrize("machine", [ViewMachine, MemoryViewMachine])
def test_views_show_what_dictionaries_say(machine: Any, plan: Any) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=plan.count(4, 400),
            stateful_step_count=plan.count(20, 60),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
