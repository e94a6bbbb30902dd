"""Changes of the tables; run by ``schema.upgrade``."""
