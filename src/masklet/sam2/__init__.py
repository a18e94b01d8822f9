"""The official package's module paths, names and signatures: change `sam2.` to `masklet.sam2.` and a script runs.

Thin adapters over masklet's own API, with the official defaults and side effects; docs/migration.md lists both and what
masklet's own API does differently.
"""
