"""Queries that run without anybody asking: triggers, cron jobs, daemons.

schema.py          the databases
changes.py         the change record of all of it
store.py           definitions on disk, each change with its record
executor.py        the threads that run queries for users who are not there
part.py            Automation: the part of the cell that starts and ends all of it
triggers.py        queries that edits set off
schedules.py       when cron jobs run: reading schedules, finding the next time
cron.py            queries that run at times
dmons.py           queries that are kept running
oauth_refresh.py   tokens of OAuth providers fetched anew before they end
storm_values.py    what the next ones share
storm_triggers.py  $lib.trigger, commands trigger.*
storm_cron.py      $lib.cron, commands cron.*
storm_dmons.py     $lib.dmon, command dmon.list
storm_background.py  the command background

`COMMANDS`, `LIBRARIES` and `TYPES` of these are collected in `registry.py` for the Engine.
"""
