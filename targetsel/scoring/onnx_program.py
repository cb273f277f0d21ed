"""A module of PyTorch as an ONNX program in memory."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

OPSET = 18


def onnx_program(
    graph: nn.Module,
    input_name: str,
    example: Tensor,
    output_names: Sequence[str],
    any_number: bool = False,
) -> torch.onnx.ONNXProgram:
    """The program of a module, which needs the packages of the extra onnx.

    Parameters
    ----------
    graph : Module
    input_name : str
        Its one input.
    example : Tensor
        An input of the shape that the program will take.
    output_names : sequence of str
    any_number : bool
        Whether the program takes any number of sources, not that of the example alone.
    """
    with _quiet():
        program = torch.onnx.export(
            graph.eval(),
            (example,),
            input_names=[input_name],
            output_names=list(output_names),
            dynamic_shapes=({0: torch.export.Dim("sources")},) if any_number else None,
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    return program


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages on other packages while the block runs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
