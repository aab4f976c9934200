"""Disks that fail: what a program really writes, power cuts at any point of it, and errors from the system.

In order of use:

    hooks.py     functions of libc replaced by Python ones in the running process, LMDB's calls among them
    events.py    what a trace consists of: writes, syncs, names, marks
    crash.py     Disk: what a power cut at some event of a trace may leave, written out as files
    recorder.py  Recorder: runs the real calls on the files of a folder, keeps the trace, and injects faults

Used by child processes of tests: nobody wants hooks in the process that runs the tests.
"""
