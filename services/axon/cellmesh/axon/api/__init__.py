"""The Axon's gRPC services.

blobs        BlobService over the store
permissions  who may call what
"""
