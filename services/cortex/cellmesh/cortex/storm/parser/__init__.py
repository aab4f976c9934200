"""Storm text to syntax tree and back.

ast.py                  the tree: frozen dataclasses with spans
"""
