"""Which L1G files a tree holds, which coincide, and what is missing."""
