"""`masklet models`: what can be loaded by name, and what is on this machine already."""

from __future__ import annotations


def models() -> None:
    """List the models known by name, and where each is."""
    import typer

    from masklet.config import CONFIGS

    rows = [("name", "trunk", "input", "where")]
    for name, config in CONFIGS.items():
        rows.append((name, config.trunk.kind, f"{config.image_size} px", _whereabouts(name)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, place in rows:  # an address is not wrapped, so that it can be copied
        typer.echo(" ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + f" {place}")


def _whereabouts(name: str) -> str:
    """In the package, the file in the hub's cache, or the address it would be fetched from."""
    from huggingface_hub import try_to_load_from_cache

    from masklet.checkpoints import BUNDLED_FILES, HUB_FILES

    if name in BUNDLED_FILES:
        return "in the package"
    place = HUB_FILES[name]
    cached = try_to_load_from_cache(place.repo, place.file)
    return cached if isinstance(cached, str) else f"to fetch: {place.url}"
