"""Data brought in line when a new version of the program comes with another model.

steps    the numbered steps: what each renames or retypes
names    what names that steps know are called now
forms    a form's nodes under its new name, in all layers
renamed  values that name a form, with its new name
runner   runs those that a Cortex has not done yet, in batches, and goes on where it was interrupted
part     has them run before the cell answers calls, where it leads
"""
