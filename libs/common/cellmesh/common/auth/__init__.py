"""Who may do what.

context  who calls, carried with the request into handlers and worker threads
"""
