"""The Axon: a store of blobs, each named by the SHA-256 of what it holds.

main    process entry
config  the settings
cell    builds the parts and the services
api/    the gRPC services: requests in, answers out
blobs/  the store: contents in chunks, the order of arrival, totals
content/  contents read as lines, rows and values
web/    requests to the web, their answers stored
schema  every database of the slab, and the layout of what lies in them
"""
