"""`GCSStore`: on the stand-in for Cloud Storage, on an emulator, and on the fault server."""
