"""The streaming memory: which memories a frame sees, and how a frame becomes one."""
