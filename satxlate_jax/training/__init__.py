"""Train: from prepared records to a checkpoint.

Batches, sharding, losses, objective, optimizers, the step and the loop.
"""
