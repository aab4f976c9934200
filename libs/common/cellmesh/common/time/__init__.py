"""Clocks, and times and intervals as the data model holds them: integer milliseconds since 1970, UTC.

clock      where the time comes from: the Clock protocol, the system's clock, one that stands still
parse      time text to milliseconds and back; relative times; ranges such as 2020*
intervals  (min, max) pairs: from values, merge, overlap, contain
durations  lengths of time, such as 2D 03:04:05
"""
