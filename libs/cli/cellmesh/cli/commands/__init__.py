"""The commands, one module a subject.

serve     `serve` of every kind of cell
mesh      up, down, status
storm     storm
aha       aha serve, provision, list
axon      axon serve, put, get, has, list
cryotank  cryotank serve, list, create, append, read, delete
cortex    cortex serve
backup    backup, restore
storage   storage, compact, trim
mirror    mirror status, promote, remove, check
changes   changes
auth      auth user, role, rule, key, check, audit
kv        kv get, set, pop, list, watch
tasks     tasks list, cancel
log_level log-level
alias     alias list, set, remove
enroll    enroll
version   version
"""
