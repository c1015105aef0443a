"""The only package that speaks Redis: keys, the function library, one module for each family of verbs."""
