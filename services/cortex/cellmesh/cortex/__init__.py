"""Cortex: the cell that holds the typed hypergraph and answers Storm queries about it.

The import order, top to bottom, is: cell, api and log, storm.library and storm.commands, automation and
stores, storm.runtime, views and storm.compiler, layers and storm.planner, model and storm.parser, auth and
clients, values.
"""
