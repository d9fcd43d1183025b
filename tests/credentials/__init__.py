"""AWS credentials: every source against a local server that speaks its protocol, and the thread that asks them."""
