"""Training of small heads on stored features: tasks, heads, metrics, protocols, reports. Media are never read.

`train_head.train_head` trains, `predict.predict` applies a trained head. Importing this package loads nothing
heavy.
"""
