"""How the token of a connection is replaced."""
