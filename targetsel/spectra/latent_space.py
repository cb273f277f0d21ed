"""Latent spaces by name: how many numbers stand for a spectrum, and what they are.

`vae6` is an autoencoder's own six latents. `vae10pca6` is one with ten, of which the first six
principal components are kept: what Wu & Peek (2020, arXiv:2009.12318) predict and decode. Any
other sizes are named the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from targetsel.errors import SpectrumError


@dataclass(frozen=True)
class LatentSpace:
    """The size of an autoencoder's latents, and of the part of them that is used.

    Attributes
    ----------
    native : int
        Latents of the autoencoder, R.
    components : int or None
        Principal components of them that stand for a spectrum; None: the native latents do.
    """

    native: int
    components: int | None = None

    def __post_init__(self) -> None:
        if self.native < 1:
            raise SpectrumError(f"{self.native} latents: an autoencoder needs at least one")
        if self.components is not None and not 1 <= self.components <= self.native:
            raise SpectrumError(
                f"latent space '{self.name}': {self.components} principal components of "
                f"{self.native} latents; expected 1 to {self.native}"
            )

    @classmethod
    def parse(cls, name: str) -> LatentSpace:
        """The latent space of a name such as `vae6` or `vae10pca6`."""
        match = re.fullmatch(r"vae(\d{1,4})(?:pca(\d{1,4}))?", name)
        if match is None:
            raise SpectrumError(
                f"latent space '{name}' is not known. Expected vaeN or vaeNpcaK, such as vae6 "
                "or vae10pca6."
            )
        native, components = match.groups()
        return cls(int(native), int(components) if components else None)

    @property
    def name(self) -> str:
        return f"vae{self.native}" + (f"pca{self.components}" if self.components else "")

    @property
    def n_latents(self) -> int:
        """Numbers that stand for a spectrum, D."""
        return self.components or self.native
