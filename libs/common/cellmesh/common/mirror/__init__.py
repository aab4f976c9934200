"""Mirrors: the instances of a service, one of which leads while the others follow. See docs/mirrors.md.

role.py         Mirror: what an instance is, and how that changes
duties.py       what a leader or a follower does all the time
instance.py     roles, places, settings; what is asked of AHA, what is told to the cell
voting.py       votes among the instances of AHA
promotion.py    how a follower becomes leader, and how a leader makes way
stopping.py     how a leader that is told to stop has a follower lead first
gate.py         MirrorGate: no acknowledgement without a lease and without synchronous followers
leading.py      the leader's side of the streams: followers, grants, acknowledgements
following.py    the follower's side: records applied in order
seed.py         a new follower's storage out of a live backup, before it is opened
source.py       where content is fetched that records only name
checkpoints.py  hashes of the state, by which replicas are compared
records.py      the records that mirrors write into the log
schema.py       their databases: terms, and what an instance must not forget
arbiter.py      what is asked of AHA
quorum.py       what instances of AHA ask each other instead: votes
forward.py      changes sent on to the leader, and reads that wait
service.py      MirrorService
"""
