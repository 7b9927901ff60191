"""Turn L1G files into the records that training reads."""
