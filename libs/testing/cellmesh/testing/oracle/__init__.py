"""A second Storm, small, slow and obviously right, to hold the first one against.

world      a graph of dicts, and what edits do to it
queries    a useful part of the language as values that know their text
evaluate   runs such queries on a world, a row at a time
making     random queries and edits, from any source of choices
"""
