"""Layers that send their edits to layers of other Cortexes, and take theirs.

sides   where edits come from and go to: a layer here, a layer of another Cortex
copying one push or pull: the layer's content first, then its edits, each once
lost    what ends one that is not alone
part    the cell's part that runs them where it leads, and finishes merges that were voted for
"""
