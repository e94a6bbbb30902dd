"""Tests of the annotation page: server, page in a browser, load."""
