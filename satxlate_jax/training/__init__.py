"""Train: from prepared records to a checkpoint."""
