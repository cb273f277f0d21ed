"""A spectrograph whose counts can be worked out by hand, and its file."""

from targetsel.spectrographs.spectrograph import Spectrograph

SIMPLE = """\
schema: targetsel/spectrograph/v1
name: Simple
source: made up
aperture: 2 arcsec
area: 1 m2
seeing: 1 arcsec
exposure: 1000 s
readout: 1000 s
sky: [[4000, 22.5], [9000, 22.5]]
arms:
- name: only
  range: [4000, 9000]
  throughput: [[4000, 0.5], [9000, 0.5]]
  resolution: [[4000, 5000], [9000, 5000]]
  pixel: 1 Angstrom
  rows: 4
  read_noise: 3 electron
  dark: 0.001 electron/s
"""


def simple(tmp_path, text=SIMPLE) -> Spectrograph:
    path = tmp_path / "simple.yaml"
    path.write_text(text)
    return Spectrograph.read(path)
