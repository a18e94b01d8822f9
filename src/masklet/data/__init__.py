"""Clips with ground truth: their layouts on disk, augmentation, synthesis, mixing and simulated prompts."""
