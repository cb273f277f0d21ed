"""Spectral priors: distributions of galaxies' spectra given their images.

`Prior` is the prior of one source, and `update` combines it with a measured spectrum; `files`
writes files of priors, and `updated_files` updates them.
"""
