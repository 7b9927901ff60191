"""What a translation must beat."""
