"""The Cortex on the wire: proto messages stop here.

permissions.py   a row for every RPC: who may call it
convert.py       proto <-> values of the graph and of Storm
storm.py         StormService: queries, streamed in batches
feed.py          FeedService: nodes in bulk
model.py         ModelService: forms and properties
"""
