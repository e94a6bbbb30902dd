"""Files and folders, here and behind URLs: whole or absent, never half-written."""
