"""What each verb does, as plans that know no I/O: one module a verb, over any provider (see `cumulo._providers`)."""
