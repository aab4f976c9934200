"""Parts of the robustness suite, tests/robustness.

journal.py        a store with a change log that knows which states it may be in
journal_cell.py   the smallest cell with storage, change log and backups
power.py          a program: work whose disk is recorded, with errors from the disk if wanted
cuts.py           power cuts at the points of a recorded run, each state judged
"""
