"""The Axon's gRPC services.

blobs         BlobService over the store
uploads       contents on their way in, and those that may be gone on with
upload_parts  messages of an upload, read without copying their data
listing       the order of arrival, listed and waited for
verifying     contents read and compared with their names
content       ContentService: contents as text, rows and values
web           WebService: requests to the web
permissions   who may call what
"""
