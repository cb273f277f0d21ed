"""Spectral priors: what an image says of a galaxy's spectrum, for those who will fit one.

`Prior` is the prior of one source, `update` what a measured spectrum makes of it; `writing` and
`updating` do so for files.
"""
