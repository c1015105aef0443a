"""Who may call: bearer tokens by id, and the key that attempts' own tokens are made with."""

from __future__ import annotations

from pydantic import ValidationError

from contracts.errors import Corrupt, ErrorCode
from contracts.ids import checked_id
from contracts.tokens import TokenRecord
from orch.store.connection import Connection

_KEY_FIELD = "agent_key"


class Tokens:
    """One hash, id -> record. Each verb is one command, so there is nothing to keep together."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, token_id: str, record: TokenRecord) -> None:
        """Stores a token; the same again changes nothing."""
        text = record.model_dump_json()
        keys = self._connection.keys
        await self._connection.execute("HSET", keys.tokens, checked_id(token_id), text)

    async def find(self, token_id: str) -> TokenRecord | None:
        """The record of that id."""
        text = await self._connection.execute("HGET", self._connection.keys.tokens, token_id)
        return None if text is None else _record(token_id, text)

    async def all(self) -> dict[str, TokenRecord]:
        """Every record, oldest first."""
        found = await self._connection.execute("HGETALL", self._connection.keys.tokens)
        records = {token_id: _record(token_id, text) for token_id, text in found.items()}
        return dict(sorted(records.items(), key=lambda one: (one[1].created_at_ms, one[0])))

    async def revoke(self, token_id: str) -> TokenRecord | None:
        """Removes a token and answers with what it was; None when there is none of that id.

        Raises:
            Refused: INVALID_ID.
        """
        record = await self.find(checked_id(token_id, what="token"))
        if record is not None:
            await self._connection.execute("HDEL", self._connection.keys.tokens, token_id)
        return record

    async def agent_key(self, fresh: str) -> str:
        """The house's key for attempts' tokens; `fresh` becomes it when there is none yet."""
        keys = self._connection.keys
        await self._connection.execute("HSETNX", keys.meta, _KEY_FIELD, fresh)
        return str(await self._connection.execute("HGET", keys.meta, _KEY_FIELD))


def _record(token_id: str, text: str) -> TokenRecord:
    try:
        return TokenRecord.model_validate_json(text)
    except ValidationError as error:
        # Without the cause: it would quote what is stored.
        message = f"token {token_id} is stored in a form that cannot be read"
        raise Corrupt(
            ErrorCode.INTERNAL, message, details={"faults": error.error_count()}
        ) from None
