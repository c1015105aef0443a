"""How agents are run: one protocol, one adapter per way, every process under a guard."""
