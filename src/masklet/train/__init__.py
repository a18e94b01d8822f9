"""Training: rollouts through the tracking code that inference uses, losses, the loop and recipes."""
