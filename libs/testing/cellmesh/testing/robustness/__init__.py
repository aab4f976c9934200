"""Parts of the robustness suite, tests/robustness.

journal.py        a store with a change log that knows which states it may be in
journal_cell.py   the smallest cell with storage, change log and backups
worker.py         processes that write to a journal until they are killed
cells.py          real cells as processes
loads.py          clients that write to real cells and know what was acknowledged
power.py          a program: work whose disk is recorded, with errors from the disk if wanted
power_cell.py     the same with a cell, and what must be there afterwards
upkeep.py         a program: a cell that backs up, compacts and trims, and meets a failpoint
cuts.py           power cuts at the points of a recorded run, each state judged
"""
