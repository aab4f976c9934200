"""Data brought in line when a new version of the program comes with another model.

steps    the numbered steps: what each renames or retypes
runner   runs those that a Cortex has not done yet, in batches, and goes on where it was interrupted
part     has them run before the cell answers calls, where it leads
"""
