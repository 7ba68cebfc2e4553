"""The run itself: threads, slots and the ledger that says where every frame went."""
