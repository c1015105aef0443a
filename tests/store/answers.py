"""An answer of a server for every row of the table of failures, as it comes over the wire."""

from __future__ import annotations

from typing import Final

from contracts.errors import Corrupt, Misuse, Unavailable
from orch.store.failures import SENTENCES, UNKNOWN, WORDS, Failure, Reaction

EXACT: Final = {
    "ASK": "ASK 3999 127.0.0.1:6381",
    "MOVED": "MOVED 3999 127.0.0.1:6381",
    "max number of clients reached": "ERR max number of clients reached",
    "invalid password": "ERR invalid password",
    "AUTH <password> called": "ERR AUTH <password> called without any password configured for the default"
    " user. Are you sure your configuration is correct?",
    "Client sent AUTH": "ERR Client sent AUTH, but no password is set",
}
"""Answers that redis-py reads further into than their beginning."""
FUNCTIONS: Final = (
    "ERR user_function:3: ORCH no transition script: x, on @user_function:3.",
    "WHAT ever",
)
"""Answers without a row: they come out of our own functions, or out of servers to come."""


def samples() -> dict[str, Failure]:
    """An answer for every row of the table."""
    words = {EXACT.get(word, f"{word} so says the server"): row for word, row in WORDS.items()}
    sentences = {EXACT.get(text, f"ERR {text} and so on"): row for text, row in SENTENCES.items()}
    return {**words, **sentences, **dict.fromkeys(FUNCTIONS, UNKNOWN)}


SAMPLES: Final = samples()
KINDS: Final = {Reaction.RETRY: Unavailable, Reaction.REFUSE: Misuse, Reaction.STOP: Corrupt}
