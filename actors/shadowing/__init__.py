"""What other code would have made of what is stored: decided again, and compared."""
