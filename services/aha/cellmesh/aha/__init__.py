"""AHA: the registry and certificate authority of a mesh.

main           process entry
config         the settings
cell           builds the parts and the services
parts          what AHA does by itself: own identities, leases, what root knows
api/           the gRPC services: requests in, answers out
directory/     who is in the mesh and where: live instances under leases, watches
ca/            the certificate authority, and AHA's own identities
provisioning/  one-time enrolments
xds/           the control plane for stock gRPC clients and Envoy
lists          StoredLists: what is in memory as whole lists
replay         AhaApplier: change records applied again, and memory brought in line
changes        the change records of AHA
schema         every database of the slab
"""
