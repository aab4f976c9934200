"""Names in certificates, certificates themselves, and what TLS is made of.

identity        CellIdentity, UserIdentity: the name a certificate carries, written and read
certs           keys, requests, an authority, issuing
authority       Authority: the key and certificate of a network in a folder; issuing
offline         OfflineAuthority: an authority without an AHA, which notes in files what it issued and revoked
folder          IdentityFolder: where a cell or user keeps its certificate, and what it knows of its mesh
contexts        gRPC server and channel credentials out of such a folder
revocation      RevocationList: certificates that are not to be trusted any more, kept beside the identity
rotate          renews a certificate well before it ends
enrollment      joins a mesh with such a URL: key and request made here, certificate stored
xds_bootstrap   bootstraps with which gRPC clients and Envoy ask AHA where calls go
enrollment_url  the one-time URL that brings a cell or user into the mesh
"""
