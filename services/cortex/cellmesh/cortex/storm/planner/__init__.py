"""What may be done differently without anybody being able to tell.

changes      whether a query may change anything, which a follower leaves to its leader
purity       whether a query only reads, so that its steps may take rows in batches
hints        filters that say in which index to look
counting     lifts, perhaps with a filter, that indexes count
points       queries that look up one node, which need no thread
"""
