"""Contents read as something: pieces of bytes in, lines, rows and values out, in constant memory.

lines      text and its lines
csv_rows   rows of CSV
values     JSON lines, MessagePack, fixed structures
"""
