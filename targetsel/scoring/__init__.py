DEFAULT = "mock-ps1"  # the shipped ensemble, here so that its name costs no import of torch
