"""Processes with limits, for work that must not hold or harm the one that serves: what may be slow, large, or not ours.

`Pool` asks, in the process that serves; `serve` answers, in a worker. What they ask and answer is bytes, and theirs to read.
"""
