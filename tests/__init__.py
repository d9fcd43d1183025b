"""The test suite: a package, so that tests can import the helpers beside them."""
