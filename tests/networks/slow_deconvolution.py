"""Network deconvolution patch by patch in float64: slow, and written to be obvious."""

import numpy as np


def newton_schulz(covariance, steps=5):
    """Inverse square root of one covariance by coupled Newton-Schulz steps."""
    norm = np.sqrt((covariance**2).sum())
    y, z = covariance / norm, np.eye(len(covariance))
    for _ in range(steps):
        t = (3 * np.eye(len(covariance)) - z @ y) / 2
        y, z = y @ t, t @ z
    return z / np.sqrt(norm)


def patch_at(padded, row, column, kernel, dilation):
    """One flattened patch: channel by channel, each row by row."""
    return np.array(
        [
            padded[channel, row + i * dilation, column + j * dilation]
            for channel in range(len(padded))
            for i in range(kernel)
            for j in range(kernel)
        ]
    )


def places(size, kernel, dilation, step):
    """Where patches start along one side of a padded map."""
    return range(0, size - dilation * (kernel - 1), step)


def pieces(patch, groups, n_blocks):
    """What is whitened together: one piece for each group, or elements dealt out in turn."""
    return np.split(patch, groups) if groups > 1 else [patch[j::n_blocks] for j in range(n_blocks)]


def padded(x, padding):
    return np.pad(np.asarray(x, dtype=float), ((0, 0), (0, 0), (padding, padding), (padding,) * 2))


def statistics(x, kernel, stride=1, padding=0, dilation=1, groups=1, n_blocks=1):
    """Means and whitening matrices: one pair for each group, or one pair for all blocks."""
    if kernel == 1:
        pixels = [x[n, :, i, j] for n, i, j in np.ndindex(len(x), *x.shape[2:])]
        patches = pixels[:: (3 * stride) ** 2]
    else:
        patches = [
            patch_at(image, row, column, kernel, dilation)
            for image in padded(x, padding)
            for row in places(image.shape[1], kernel, dilation, 3 * stride)
            for column in places(image.shape[2], kernel, dilation, 3 * stride)
        ]
    cut = [pieces(np.asarray(patch, dtype=float), groups, n_blocks) for patch in patches]
    if groups > 1:
        together = [[each[group] for each in cut] for group in range(groups)]
    else:
        together = [[block for each in cut for block in each]]
    means = [np.mean(rows, axis=0) for rows in together]
    covariances = [
        sum(np.outer(row - mean, row - mean) for row in rows) / len(rows)
        for rows, mean in zip(together, means, strict=True)
    ]
    return means, [newton_schulz(c + 1e-5 * np.eye(len(c))) for c in covariances]


def deconvolution(
    x, weight, bias, means, whitenings, stride=1, padding=0, dilation=1, groups=1, n_blocks=1
):
    """Every output pixel from its own patch, padded zeros included, centred and whitened."""
    n_out, _, kernel, _ = weight.shape
    images = padded(x, padding)
    rows = places(images.shape[2], kernel, dilation, stride)
    columns = places(images.shape[3], kernel, dilation, stride)
    result = np.zeros((len(x), n_out, len(rows), len(columns)))
    for n, i, j in np.ndindex(len(x), len(rows), len(columns)):
        patch = patch_at(images[n], rows[i], columns[j], kernel, dilation)
        white = [
            whitenings[k if groups > 1 else 0] @ (piece - means[k if groups > 1 else 0])
            for k, piece in enumerate(pieces(patch, groups, n_blocks))
        ]
        for out in range(n_out):
            if groups > 1:
                group = out // (n_out // groups)
                result[n, out, i, j] = bias[out] + weight[out].ravel() @ white[group]
            else:
                parts = pieces(weight[out].ravel(), 1, n_blocks)
                result[n, out, i, j] = bias[out] + sum(
                    w @ p for w, p in zip(parts, white, strict=True)
                )
    return result
