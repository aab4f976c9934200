"""Storm, the query language: text to tokens, tokens to AST, AST to plan and closures, closures to rows.

source.py     query text, spans, line and column, excerpts with a caret
parser/       text to AST, and AST back to text
"""
