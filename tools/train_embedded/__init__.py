"""How the weights of the embedded backbone are made; nothing here is needed, or imported, to use them."""
