"""The reaper: finds who fell silent, and what nobody finished."""
