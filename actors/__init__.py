"""The actors: independent programs that hand work to each other only through Redis streams."""
