"""`masklet models`: what can be loaded by name, and what is on this machine already."""

from __future__ import annotations


def models() -> None:
    """List the models known by name, and where each is."""
    from rich.console import Console
    from rich.table import Table

    from masklet.config import CONFIGS

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "trunk", "input", "where"):
        table.add_column(heading, overflow="fold")
    for name, config in CONFIGS.items():
        table.add_row(name, config.trunk.kind, f"{config.image_size} px", _whereabouts(name))
    Console(soft_wrap=True, highlight=False).print(table)


def _whereabouts(name: str) -> str:
    """In the package, the file in the hub's cache, or the address it would be fetched from."""
    from huggingface_hub import try_to_load_from_cache

    from masklet.checkpoints import BUNDLED_FILES, HUB_FILES

    if name in BUNDLED_FILES:
        return "in the package"
    place = HUB_FILES[name]
    cached = try_to_load_from_cache(place.repo, place.file)
    return cached if isinstance(cached, str) else f"to fetch: {place.url}"
