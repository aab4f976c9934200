"""Parts for tests only; nothing that ships imports this package.

conformance/   runs the Storm cases of tests/conformance through gRPC and judges the answers
"""
