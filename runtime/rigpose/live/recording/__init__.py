"""Recording a live run so that no end of it, however sudden, costs more than its last second."""
