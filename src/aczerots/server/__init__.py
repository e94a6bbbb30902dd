"""The annotation page: a web server over a project, and what it needs of one. Needs the extra ``annotate``."""
