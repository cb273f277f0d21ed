"""Stand-ins of the published autoencoder and its PCA, which independent code writes."""

import importlib.util
import pickle
import sys

import numpy as np
import pytest
import torch

SOURCE = """
from torch import nn
from torch.nn import functional as F

class InformedAutoencoder(nn.Module):
    def __init__(self, raw=10, wide=549, names=("mu", "lv")):
        super().__init__()
        self.ncode, self.alpha, self.lambd = int(raw), 0.0, 1234.5
        self.encd, self.d1 = nn.Linear(1000, wide), nn.Dropout(p=0.0)
        self.enc2 = nn.Linear(wide, 110)
        for name in names:
            setattr(self, name, nn.Linear(110, raw))
        self.decd, self.dec2 = nn.Linear(raw, 110), nn.Linear(110, wide)
        self.outp = nn.Linear(wide, 1000)

    def encode(self, x, names=("mu", "lv")):
        x = F.leaky_relu(self.enc2(F.leaky_relu(self.encd(x))))
        return tuple(getattr(self, name)(x) for name in names)

    def decode(self, x):
        return self.outp(F.leaky_relu(self.dec2(F.leaky_relu(self.decd(x)))))
"""


def module_of(path, zipped=False, backend=None, **options):
    """A whole pickled module whose class no longer exists when the file is read."""
    code = path.with_name("InformedVAE.py")
    code.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("InformedVAE", code)
    sys.modules["InformedVAE"] = room = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(room)
        torch.manual_seed(4)
        module = room.InformedAutoencoder(**options)
        if backend is not None:
            for part in module.modules():
                part.__dict__["_backend"] = backend
        torch.save(module, path, _use_new_zipfile_serialization=zipped)
    finally:
        del sys.modules["InformedVAE"]
        code.unlink()
    return module


def fitted_pca(path, n=6, raw=10, whiten=False, protocol=4):
    """A pickled PCA, of scikit-learn where it is installed."""
    decomposition = pytest.importorskip("sklearn.decomposition")
    latents = np.random.default_rng(1).normal(size=(300, raw)) * np.arange(raw, 0, -1) + 3
    pca = decomposition.PCA(n, whiten=whiten).fit(latents)
    path.write_bytes(pickle.dumps(pca, protocol))
    return pca
