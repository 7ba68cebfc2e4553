"""``pytorch_config.yaml``: read, written, changed by dotted keys, and made for every model we can build."""
