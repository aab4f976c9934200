"""Inputs that are nearly right.

texts    queries made of parts of other queries
values   values of all kinds for types to make something of
"""
