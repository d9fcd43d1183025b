"""S3 end to end: on real servers what they can show, on the fault server what they can't."""
