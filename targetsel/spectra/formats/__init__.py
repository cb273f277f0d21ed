"""Files of spectra as surveys write them, a module for each kind."""
