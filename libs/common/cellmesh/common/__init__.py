"""What every cell is made of. Nothing in here knows a cell.

errors/     the error hierarchy, and errors to and from gRPC status
values      Python values to and from the wire's Value
hashing     guids, buids, order-preserving integers, several digests in one pass
hugenum     exact decimal numbers: bounds, arithmetic, sortable bytes
msgpack     the one msgpack encoding; limits on size and depth
limits      named bounds that all cells share
addresses   host and port, to and from text
files       files written whole or not at all
exports     names of a package, imported when they are asked for
failpoints  named points where tests make things fail
time/       clocks; times and intervals as the data model needs them
config/     settings: defaults, file, environment, flags, and where each value came from
storage/    LMDB: slab, typed sub-databases, the single writer, chunked scans
backup/     backups as files: what is in one, archives, restoring
changelog/  the log of a cell's changes: append, read, follow, trim
keyvalues/  a small tree of values in every cell: get, set, lists, watches
tasks/      the calls being served: listed, ended
mirror/     leader and followers of a service: following, forwarding, promotion
auth/       who calls, carried with the request
tls/        identities, certificates, contexts
rpc/        the gRPC server, its chain of interceptors, channels, batching streams
telemetry/  logs, metrics and traces
cell/       what makes a process a cell: start, stop, the services that all cells offer
"""
