"""The Cortex on the wire: proto messages stop here.

permissions.py   a row for every RPC: who may call it
convert.py       proto <-> values of the graph and of Storm
storm.py         StormService: queries, streamed in batches
storm_reference.py  what the language has, as messages
table.py         TableService: the nodes of a query as batches of columns
columns.py       how nodes become columns
column_layout.py how the values of a column become bytes
feed.py          FeedService: nodes in bulk
export.py        ExportService: the nodes of a query with their edges and data
feed_groups.py   small batches of several feeds, written and synced together
layers.py        LayerService: edits, content and index rows of single layers
layer_files.py   the same: layers out to files and in from them
model.py         ModelService: forms and properties
notifications.py NotificationService: the notices of all users
http_api.py      HttpApiService: requests to the extended HTTP API
"""
