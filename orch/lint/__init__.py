"""Does what is written down agree with what is? Checks that need no server, each fault with what mends it."""
