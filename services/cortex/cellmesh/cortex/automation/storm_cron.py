"""`$lib.cron`, cron jobs as values, and the commands `cron.*`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadConfValu, BadTypeValu, StormRuntimeError
from cellmesh.cortex.automation import schedules
from cellmesh.cortex.automation.cron import CronJob, CronJobs
from cellmesh.cortex.automation.store import by_prefix, writing_in
from cellmesh.cortex.automation.storm_values import (
    iden_of_user,
    moment,
    query_text,
    required_text,
    user_of_iden,
    yes,
)
from cellmesh.cortex.storm.commands.acting import lib
from cellmesh.cortex.storm.runtime.interface import (
    Arguments,
    ArgumentSpec,
    AttributeSpec,
    CommandSpec,
    FunctionSpec,
    LibrarySpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.members import get_member
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.values import tobool, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

_COMMON: Final = frozenset({"query", "iden", "view", "pool", "affinity", "name", "doc"})
_ADD: Final = _COMMON | frozenset((*schedules.UNITS, *schedules.SHORTHANDS, "period"))
_AT: Final = _COMMON | {"minute", "hour", "day", "dt", "now"}
_PREFIX: Final = ParameterSpec("prefix", type="str", doc="The iden, or what it begins with.")
_VERSION: Final = 1


class CronObject:
    """A cron job in a query."""

    __slots__ = ("creator_iden", "job")

    def __init__(self, context: RunContext, job: CronJob) -> None:
        self.job = job
        self.creator_iden = iden_of_user(context, job.row["creator"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CronObject) and other.job is self.job

    def __hash__(self) -> int:
        return hash(self.job.iden)

    def storm_plain(self) -> dict[str, Any]:
        """Return what is known of it."""
        row = self.job.row
        return {
            "ver": _VERSION,
            "loglevel": "WARNING",
            **{name: value for name, value in row.items() if name != "number"},
            "indx": row["number"],
            "creator": self.creator_iden,
            "username": row["creator"],
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"cronjob: {self.storm_plain()}"

    def shown(self) -> dict[str, Any]:
        """Return it as tables show it."""
        row = self.job.row
        return {
            "iden": row["iden"],
            "idenshort": f"{row['iden'][:8]}..",
            "user": row["creator"],
            "view": row["view"],
            "viewshort": f"{row['view'][:8]}..",
            "query": row["query"],
            "pool": row["pool"],
            "affinity": row["affinity"] or "(null)",
            "isrecur": yes(row["recur"]),
            "isrunning": yes(row["isrunning"]),
            "enabled": yes(row["enabled"]),
            "startcount": row["startcount"],
            "errcount": row["errcount"],
            "laststart": moment(row["laststarttime"]),
            "lastend": moment(row["lastfinishtime"]),
            "lastresult": row["lastresult"] or "<None>",
            "lasterrs": row["lasterrs"],
            "iserr": "X" if str(row["lastresult"]).startswith("raised") else " ",
            "recs": [
                {
                    "reqdict": required or "<None>",
                    "incunit": unit or "<None>",
                    "incval": increment or "<None>",
                }
                if unit != "dayofweek"
                else {"reqdict": required, "incunit": unit, "incval": increment}
                for required, unit, increment in self.job.recurrences
            ],
        }


def _jobs(context: RunContext) -> CronJobs:
    found: CronJobs = context.capability("cron")
    return found


def _by_prefix(context: RunContext, prefix: Any) -> CronJob:
    jobs = _jobs(context)
    return jobs.get(by_prefix(jobs.by_iden, tostr(prefix), "cron job"))


def _given(kwargs: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    # Options that there are not are left alone.
    given = {name: toprim(value) for name, value in kwargs.items() if value is not None and name in allowed}
    if kwargs.get("query") is None:
        raise StormRuntimeError("a cron job needs a query", name="query")
    given["query"] = query_text(kwargs["query"])
    return given


def _recurrences(given: Mapping[str, Any]) -> list[schedules.Recurrence]:
    """Return when a job runs."""
    if given.get("period") is None:
        return schedules.periodic(given)
    others = [name for name in (*schedules.UNITS, *schedules.SHORTHANDS) if given.get(name) is not None]
    if others:
        raise StormRuntimeError(f"a period cannot be used with {', '.join(others)}", name="period")
    return schedules.by_period(tostr(given["period"]))


def _check_syntax(context: RunContext, text: str) -> None:
    if not text.strip():
        raise BadArg("the query of a cron job is empty", name="query")
    _jobs(context).check(text)


def _add(context: RunContext, kwargs: Mapping[str, Any]) -> CronObject:
    if kwargs.get("affinity") is not None and tobool(kwargs.get("pool", False)):
        raise BadConfValu("a cron job has an affinity or runs in a pool, not both", name="affinity")
    given = _given(kwargs, _ADD)
    recurrences = _recurrences(given)
    _check_syntax(context, given["query"])
    schedules.check(recurrences)
    job = _jobs(context).add(
        writing_in(context),
        given,
        recurrences,
        user=context.user,
        view=str(context.view.id),
        is_recurring=True,
    )
    return CronObject(context, job)


def _at(context: RunContext, kwargs: Mapping[str, Any]) -> CronObject:
    given = _given(kwargs, _AT)
    is_now = bool(tobool(given.get("now", False)))
    if not is_now and not any(given.get(name) is not None for name in ("minute", "hour", "day", "dt")):
        raise StormRuntimeError("an at job needs to be told when it runs", name="dt")
    _check_syntax(context, given["query"])
    time_type = context.model.type("time")
    times = given.get("dt")
    parts = [] if times is None else times if isinstance(times, list) else str(times).split(",")
    try:
        times_ms = [time_type.norm(part) for part in parts]
    except BadTypeValu as error:
        raise StormRuntimeError(f"dt is no time: {error.message}", name="dt") from error
    moments = schedules.moments(given, times_ms, _jobs(context).now_s())
    job = _jobs(context).add(
        writing_in(context),
        given,
        moments,
        user=context.user,
        view=str(context.view.id),
        is_recurring=False,
        is_now=is_now,
    )
    return CronObject(context, job)


def _del(context: RunContext, prefix: Any) -> None:
    _jobs(context).delete(writing_in(context), _by_prefix(context, prefix).iden, user=context.user)


def _enable(context: RunContext, prefix: Any, is_enabled: bool) -> str:
    job = _by_prefix(context, prefix)
    _jobs(context).enable(writing_in(context), job, is_enabled, user=context.user)
    return job.iden


def _mod(context: RunContext, prefix: Any, query: Any, kwargs: Mapping[str, Any]) -> str:
    job = _by_prefix(context, prefix)
    period = kwargs.get("period")
    if kwargs.keys() - {"period"}:
        raise StormRuntimeError("the query and the period of a cron job can be changed", name="query")
    recurrences = None if period is None else schedules.by_period(tostr(period))
    text = None if query is None else query_text(query)
    if text is not None:
        _check_syntax(context, text)
    if recurrences is not None:
        _jobs(context).set_schedule(writing_in(context), job, recurrences, user=context.user)
    if text is not None:
        _jobs(context).set_query(writing_in(context), job, text, user=context.user)
    return job.iden


def _move(context: RunContext, prefix: Any, view: Any) -> str:
    job = _by_prefix(context, prefix)
    _jobs(context).move(writing_in(context), job, tostr(view), user=context.user)
    return job.iden


def _set(context: RunContext, self: CronObject, name: Any, value: Any) -> CronObject:
    field = tostr(name)
    text = user_of_iden(context, tostr(value)) if field == "creator" else tostr(value)
    _jobs(context).set(writing_in(context), self.job, field, text, user=context.user)
    return self


_SCHEDULE_WORDS: Final = (
    "query, and minute, hour, day, month, year, or period, or hourly, daily, monthly, yearly; iden, view."
)

LIBRARIES: Final = (
    LibrarySpec(
        ("cron",),
        "Queries that run at times, in UTC.",
        (
            FunctionSpec(
                "add",
                f"Make a job that runs again and again. Options: {_SCHEDULE_WORDS}",
                _add,
                returns="cronjob",
                keywords="kwargs",
                changes_state=True,
            ),
            FunctionSpec(
                "at",
                "Make a job that runs once, or at a few moments. "
                "Options: query, and minute, hour, day from now, dt or now; iden, view.",
                _at,
                returns="cronjob",
                keywords="kwargs",
                changes_state=True,
            ),
            FunctionSpec("del", "Remove a job; its query ends.", _del, (_PREFIX,), changes_state=True),
            FunctionSpec(
                "disable",
                "Switch a job off.",
                lambda c, prefix: _enable(c, prefix, False),
                (_PREFIX,),
                "str",
                changes_state=True,
            ),
            FunctionSpec(
                "enable",
                "Switch a job on.",
                lambda c, prefix: _enable(c, prefix, True),
                (_PREFIX,),
                "str",
                changes_state=True,
            ),
            FunctionSpec(
                "get", "A job.", lambda c, prefix: CronObject(c, _by_prefix(c, prefix)), (_PREFIX,), "cronjob"
            ),
            FunctionSpec(
                "list",
                "All jobs.",
                lambda c: [CronObject(c, job) for job in _jobs(c).by_iden.values()],
                (),
                "list",
            ),
            FunctionSpec(
                "mod",
                "Change the query of a job, or its period.",
                _mod,
                (_PREFIX, ParameterSpec("query", type="query", doc="The new query; null for that it has.")),
                "str",
                keywords="kwargs",
                changes_state=True,
            ),
            FunctionSpec(
                "move",
                "Have a job run in another view.",
                _move,
                (_PREFIX, ParameterSpec("view", type="str", doc="The iden of the view.")),
                "str",
                changes_state=True,
            ),
        ),
    ),
)

TYPES: Final = (
    TypeSpec(
        "cronjob",
        CronObject,
        "A query that runs at times.",
        (
            FunctionSpec(
                "kill",
                "End its query if it runs.",
                lambda c, self: _jobs(c).kill(self.job),
                (),
                "bool",
                may_change=True,
            ),
            FunctionSpec("pack", "What is known of it.", lambda c, self: self.storm_plain(), (), "dict"),
            FunctionSpec("pprint", "It as tables show it.", lambda c, self: self.shown(), (), "dict"),
            FunctionSpec(
                "set",
                "Change name, doc or creator.",
                _set,
                (ParameterSpec("name", type="str"), ParameterSpec("valu", type="any")),
                "cronjob",
                changes_state=True,
            ),
        ),
        (AttributeSpec("iden", "Its iden.", lambda c, self: self.job.iden, "str"),),
    ),
)


# Commands --------------------------------------------------------------------------------------------------------


def _options(arguments: Arguments, names: tuple[str, ...]) -> dict[str, Any]:
    given = {name: getattr(arguments, name) for name in names}
    return {"query": arguments.query, **{name: value for name, value in given.items() if value is not None}}


def _add_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    old = (*schedules.UNITS, *schedules.SHORTHANDS)
    for name in old:
        if getattr(arguments, name) is not None:
            context.warn_once(f"--{name} is deprecated: --period says when a job runs")
    names = (*old, "iden", "view", "pool", "affinity", "period")
    made: CronObject = lib(context, "cron.add", **_options(arguments, names))
    for name in ("name", "doc"):
        if getattr(arguments, name) is not None:
            context.call(get_member(context, made, "set"), name, getattr(arguments, name))
    context.print(f"Created cron job: {made.job.iden}")
    yield from rows


def _at_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    names = ("minute", "hour", "day", "dt", "now", "iden", "view", "affinity")
    made: CronObject = lib(context, "cron.at", **_options(arguments, names))
    context.print(f"Created cron job: {made.job.iden}")
    yield from rows


def _del_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    lib(context, "cron.del", arguments.iden)
    context.print(f"Deleted cron job: {tostr(arguments.iden)}")
    yield from rows


def _switch(is_enabled: bool) -> Any:
    def run(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
        iden = lib(context, f"cron.{'enable' if is_enabled else 'disable'}", arguments.iden)
        context.print(f"{'Enabled' if is_enabled else 'Disabled'} cron job: {iden}")
        yield from rows

    return run


def _mod_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    changed = {} if arguments.period is None else {"period": arguments.period}
    if arguments.query is None and not changed:
        raise BadArg("cron.mod needs a query, a period or both", name="query")
    iden = lib(context, "cron.mod", arguments.iden, arguments.query, **changed)
    context.print(f"Modified cron job: {iden}")
    yield from rows


def _move_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    iden = lib(context, "cron.move", arguments.iden, arguments.view)
    context.print(f"Moved cron job {iden} to view {tostr(arguments.view)}")
    yield from rows


def _cleanup_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    jobs, count = _jobs(context), 0
    for job in jobs.by_iden.values():
        if not job.row["recur"] and job.row["nexttime"] is None and job.running is None:
            lib(context, "cron.del", job.iden)
            count += 1
    context.print(f"{count} cron/at jobs deleted.")
    yield from rows


def _list_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    jobs: list[CronObject] = lib(context, "cron.list")
    if jobs:
        context.print(
            f"{'user':24} {'iden':10} {'view':10} {'en?':3} {'rpt?':4} {'now?':4} {'err?':4} {'# start':7} "
            f"{'last start':16} {'last end':16} query"
        )
    else:
        context.print("No cron jobs found")
    for job in jobs:
        shown = job.shown()
        context.print(
            f"{shown['user']:24} {shown['idenshort']:10} {shown['viewshort']:10} {shown['enabled']:3} "
            f"{shown['isrecur']:4} {shown['isrunning']:4} {shown['iserr']:4} {shown['startcount']:<7} "
            f"{shown['laststart']:16} {shown['lastend']:16} {shown['query']}"
        )
    yield from rows


def _stat_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    job: CronObject = lib(context, "cron.get", arguments.iden)
    shown = job.shown()
    for label, name in (
        ("iden", "iden"),
        ("user", "user"),
        ("enabled", "enabled"),
        ("recurring", "isrecur"),
        ("# starts", "startcount"),
        ("# errors", "errcount"),
        ("last start time", "laststart"),
        ("last end time", "lastend"),
        ("last result", "lastresult"),
        ("query", "query"),
    ):
        context.print(f"{label + ':':16} {shown[name]}")
    for error in shown["lasterrs"]:
        context.print(f"{'error:':16} {error}")
    context.print(f"{'entries:':16} {'incunit':10} {'incval':6} required")
    for required, unit, increment in _by_prefix(context, arguments.iden).recurrences:
        context.print(f"{'':16} {unit or '<None>':10} {increment!s:6} {required_text(required)}")
    yield from rows


_IDEN: Final = ArgumentSpec(("iden",), "The iden of the job, or what it begins with.")
_QUERY: Final = ArgumentSpec(("query",), "What to run.", type="query")

COMMANDS: Final = (
    CommandSpec(
        "cron.add",
        """Make a job that runs a query again and again, at times in UTC.

        Each of minute, hour, day, month and year takes numbers, or +N for every N; days and months may be named. A
        period says it in one: a word, every how many or which days behind a /, and the time behind an @.

            cron.add --period daily@14:30 { #report }
            cron.add --period weekly/mon,wed@9 { #todo | count }
            cron.add --period monthly/1,-1@03:15 { #report }
            cron.add --period hourly@:15,45 { #new }
            cron.add --period minutely/5 { #new }
            cron.add --hour 3 --minute 30 { inet:fqdn#old | delnode }
            cron.add --day Mon,Thu { #todo | count }
            cron.add --minute +10 { inet:ipv4#new [ -#new ] }
            cron.add --monthly -1:23:00 { #report }
        """,
        _add_command,
        (
            _QUERY,
            ArgumentSpec(("--pool",), "Let a cell of the pool run it.", action="store_true"),
            ArgumentSpec(("--affinity",), "The cell that should run it."),
            ArgumentSpec(("--name",), "A name."),
            ArgumentSpec(("--iden",), "The iden it gets."),
            ArgumentSpec(("--doc",), "What it is for."),
            ArgumentSpec(("--view",), "The iden of the view it runs in."),
            ArgumentSpec(
                ("--period",),
                "minutely, hourly, daily, weekly, monthly or yearly, with /what and @time behind it.",
            ),
            ArgumentSpec(("--minute",), "Minutes of the hour, or +N.", type="any"),
            ArgumentSpec(("--hour",), "Hours of the day, or +N.", type="any"),
            ArgumentSpec(
                ("--day",), "Days of the month, from its end if negative; of the week; or +N.", type="any"
            ),
            ArgumentSpec(("--month",), "Months, or +N.", type="any"),
            ArgumentSpec(("--year",), "Every N years, as +N.", type="any"),
            ArgumentSpec(("--hourly",), "The minute.", type="any"),
            ArgumentSpec(("--daily",), "HH:MM.", type="any"),
            ArgumentSpec(("--monthly",), "Day:HH:MM.", type="any"),
            ArgumentSpec(("--yearly",), "Month:Day:HH:MM.", type="any"),
        ),
        needs_constant=True,
        changes_state=True,
    ),
    CommandSpec(
        "cron.at",
        """Make a job that runs a query once, or at a few moments.

            cron.at --day +1 { #todo | count }
            cron.at --dt 2030-01-01 { #report }
        """,
        _at_command,
        (
            _QUERY,
            ArgumentSpec(("--minute",), "So many minutes from now.", type="any"),
            ArgumentSpec(("--hour",), "So many hours from now.", type="any"),
            ArgumentSpec(("--day",), "So many days from now.", type="any"),
            ArgumentSpec(("--dt",), "A time, or several with commas between.", type="any"),
            ArgumentSpec(("--now",), "Now.", action="store_true"),
            ArgumentSpec(("--iden",), "The iden it gets."),
            ArgumentSpec(("--view",), "The iden of the view it runs in."),
            ArgumentSpec(("--affinity",), "The cell that should run it."),
        ),
        needs_constant=True,
        changes_state=True,
    ),
    CommandSpec("cron.cleanup", "Remove at jobs that are done.", _cleanup_command, changes_state=True),
    CommandSpec("cron.del", "Remove a job; its query ends.", _del_command, (_IDEN,), changes_state=True),
    CommandSpec("cron.disable", "Switch a job off.", _switch(False), (_IDEN,), changes_state=True),
    CommandSpec("cron.enable", "Switch a job on.", _switch(True), (_IDEN,), changes_state=True),
    CommandSpec("cron.list", "List all jobs.", _list_command),
    CommandSpec(
        "cron.mod",
        "Change the query or the period of a job.",
        _mod_command,
        (
            _IDEN,
            ArgumentSpec(("query",), "The new query.", type="query", count="?"),
            ArgumentSpec(("--period",), "When it runs from now on; see cron.add."),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "cron.move",
        "Have a job run in another view.",
        _move_command,
        (_IDEN, ArgumentSpec(("view",), "The iden of the view.")),
        changes_state=True,
    ),
    CommandSpec("cron.stat", "Show all that is known of a job.", _stat_command, (_IDEN,)),
)
