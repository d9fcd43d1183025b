"""What every store must do, operation by operation, on every store there is."""
