"""Parts for tests only; nothing that ships imports this package.

disk/          records what a program writes, cuts the power at any point of it, and makes disks fail
robustness/    stores and programs that the robustness suite breaks
conformance/   runs the Storm cases of tests/conformance through gRPC and judges the answers
"""
