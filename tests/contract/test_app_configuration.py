"""The app reads the configuration the contract shows."""

from __future__ import annotations

from pathlib import Path

from app.config import Address, Config

EXAMPLE = Path(__file__).parent / "examples" / "app.json"


def test_the_example_is_a_configuration_the_app_accepts() -> None:
    config = Config.load(EXAMPLE)

    assert config.writers[0] == Address(host="10.10.10.21", port=5432)
    assert {address.port for address in config.readers} == {5433}
    assert config.secret == "pgmend/database"
