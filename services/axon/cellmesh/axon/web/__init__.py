"""The Axon's own requests to the web, through httpx.

requests  WebClient: a request made, its answer stored
decoding  answers uncompressed, in bounded pieces
bodies    what is sent: blobs and forms, read as they leave
results   what came of a request, as a map
trust     whom a request trusts, and as whom it shows itself
"""
