"""The commands, one module a subject.

serve     `serve` of every kind of cell
mesh      up, down, status
storm     storm
storm_text  storm fmt, lint
storm_plan  plans of queries as text and JSON, for storm --explain, --profile
importing import
exporting export
aha       aha serve, provision, list
aha_admin aha pool, revoke, certs, enrollments, services, down, up, remove
cert      cert init, request, issue, renew, list, show, revoke, verify
axon      axon serve, put, get, has, list
cryotank  cryotank serve, list, create, info, limit, trim, delete
cryotank_records  cryotank append, read, tail, import, export, consumer
cortex    cortex serve
model     model, asked of a running Cortex
backup    backup, restore
layer     layer list, verify, repair
layer_files  layer export, import: a layer as a file
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
help      help
doctor    doctor
completion  completion
"""
