"""Pure policy: values in, decision values out. No await, clock, chance, logging or I/O."""
