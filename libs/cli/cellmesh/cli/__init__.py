"""The command `cellmesh`.

main       the root command, and how errors reach people
lazy       groups whose commands are imported when they are used
connect    from --url, --dir and --identity to a client of a cell
bootstrap  bootstrap files for gRPC clients and Envoy, out of an identity folder
blobs      contents to and from an Axon, with progress
records    records for programs: --json
totals     the line at the end of a query: how much came, how long it took
views      views by the names that people give them
layers     layers by the names that people give them
output     tables, sizes, times, values as people read them
commands/  the commands, one module a subject
shell/     the interactive shell of `cellmesh storm`, and its formats for scripts
exchange/  `cellmesh import` and `cellmesh export`
doctor/    what `cellmesh doctor` looks at
mesh/      a mesh of the four cells under one folder: usable as a library
demo/      the main job on real data
"""
