"""What happens around every call, outermost first.

base        what an interceptor is, and how one is put around a handler
chain       CHAIN, the written order, and the check that it holds
request_id  names the request and makes the call context that all others fill
telemetry   spans, metrics, one debug line; sees the final status
errors      CellError to status and details; the unknown to INTERNAL, logged whole
deadline    refuses what is too late; tells the handler how long it has
auth        who calls, and whether the method's permission row lets them
peers       who a certificate speaks for, and whether it still counts
"""
