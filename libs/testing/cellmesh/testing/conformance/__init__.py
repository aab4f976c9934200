"""Storm conformance: JSON Lines cases in, a verdict a case out.

cases.py     reads the case files
plain.py     brings observed and expected values into one comparable form
judge.py     says whether an answer is the expected one, and where it differs
cortex.py    a fresh Cortex for each group of cases, reached over gRPC
runner.py    runs the cases over worker processes, prints the area lines, keeps the ratchet
"""
