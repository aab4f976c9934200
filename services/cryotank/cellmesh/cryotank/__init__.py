"""The Cryotank: named, append-only sequences of records.

main    process entry
config  the settings
cell    builds the parts and the services
api/    the gRPC services: requests in, answers out
tanks/  the store: records by tank and offset, exact counts
schema  every database of the slab, and the layout of what lies in them
"""
