"""From L1G files to the records that training reads."""
