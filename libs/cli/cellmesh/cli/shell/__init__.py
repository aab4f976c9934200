"""The interactive shell behind `cellmesh storm` without a query, and the formats of its one-shot form.

    session       the loop: read a query or a command, run it, show what comes
    reading       how its lines are typed: keys, indents, and when Enter runs them
    commands      what begins with a backslash: \\format, \\view, \\set and the rest
    meta          what such a command is
    filing        those that read and write files: \\run, \\save, \\edit, \\history
    helping       `help NAME`: a form, a property, a command or a function
    running       one query: read in a thread, so that Ctrl-C and the progress line never wait
    rendering     what comes as nodes, tree, JSON, JSON lines or CSV
    tables        what comes as tables as wide as the terminal
    paging        the screen: the progress line, and a pager for what is longer than it
    oneshot       one query in one of these formats, for scripts
    scan          a cheap scanner of Storm text: what is open, what a word is
    completion    what may stand at the cursor
    places        which form, stage and kind of word the cursor is at
    names         what can be completed, asked of the Cortex in the background
    declarations  what the language has: commands, `$lib`, types and their members
    kinds         what kind of value stands before a dot
    highlighting  colours of the text while it is typed
    history       the lines of earlier sessions, in a file that only its owner can read

Imported only when the shell starts: prompt_toolkit and rich take a while to load.
"""
