"""What is allowed, and what the child may see."""
