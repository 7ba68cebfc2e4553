"""How a live run stands, as HTML: charts and tables that the live page and the report share, and the report."""
