"""The network: tensors in, tensors out; no state between calls, no files.

Attribute names equal the keys of Meta's checkpoint files, so every released or fine-tuned file loads without renaming.
"""
