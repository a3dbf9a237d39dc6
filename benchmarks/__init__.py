"""What the gateway costs: `make bench`. docs/performance.md has the method and a table."""
