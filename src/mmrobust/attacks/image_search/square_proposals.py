"""Starting points and random windows of Square Attack in the l-inf and the l2 ball."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrobust.attacks.image_search.balls import ball_of
from mmrobust.attacks.noise import ItemNoise
from mmrobust.threat import ImageBudget


@dataclass(frozen=True)
class LinfSquares:
    """Andriushchenko et al. 2020, arXiv:1912.00049, section 3.3 (algorithm 2): corners of the cube.

    Setting a window to plus or minus eps is the same as the paper's change by 2 eps, projected.
    """

    budget: ImageBudget

    def start(self, images: Tensor, noise: ItemNoise) -> Tensor:
        """Vertical stripes (B, 3, H, W) of plus or minus eps in each colour."""
        stripes = _signs(noise.uniform(images[:, :, :1, :]))
        return ball_of(self.budget).project(images + self.budget.eps * stripes, images)

    def trial(self, best: Tensor, images: Tensor, *, side: int, noise: ItemNoise) -> Tensor:
        """`best` with one window (side, side) of each item set to plus or minus eps by colour."""
        batch, colours = images.shape[:2]
        draws = noise.uniform(images.new_empty(batch, 2 + colours))
        window = _window(draws[:, 0], draws[:, 1], side, images)
        shift = self.budget.eps * _signs(draws[:, 2:, None, None])
        return ball_of(self.budget).project(torch.where(window, images + shift, best), images)


@dataclass(frozen=True)
class L2Squares:
    """Andriushchenko et al. 2020, arXiv:1912.00049, section 3.4 (algorithm 3): the norm moves.

    Two windows are drawn. The second loses its perturbation; the first gains its norm, and what
    of eps was unused, as a pair of hills of opposite sign on top of what it had.

    Deviations:
        The start tiles the image with as many squares of a fifth of its shorter side as fit; the
        released code has five by five, which fails below five pixels.
    """

    budget: ImageBudget

    def start(self, images: Tensor, noise: ItemNoise) -> Tensor:
        """Tiles of hills (B, 3, H, W), of norm eps before clipping."""
        batch, colours, height, width = images.shape
        side = max(min(height, width) // 5, 1)
        down, across = height // side, width // side
        draws = noise.uniform(images.new_empty(batch, 1 + colours, down, across, 1, 1))
        tiles = _signs(draws[:, 1:]) * _hills(draws[:, :1], side)
        tiled = tiles.transpose(3, 4).reshape(batch, colours, down * side, across * side)
        left, top = (width - across * side) // 2, (height - down * side) // 2
        right, bottom = width - across * side - left, height - down * side - top
        delta = F.pad(tiled, (left, right, top, bottom))
        return self._within(self.budget.eps * _unit(delta, (1, 2, 3)), images)

    def trial(self, best: Tensor, images: Tensor, *, side: int, noise: ItemNoise) -> Tensor:
        """`best` with the norm of two windows of each item moved into the first.

        Windows are at least 3 pixels wide, and odd, as far as the image is large enough.
        """
        batch, colours, height, width = images.shape
        side = min(max(side, 3) | 1, height, width)
        draws = noise.uniform(images.new_empty(batch, 5 + colours))
        first = _window(draws[:, 0], draws[:, 1], side, images)
        second = _window(draws[:, 2], draws[:, 3], side, images)
        inside = first.expand_as(images)
        delta = best - images
        unused = (self.budget.eps**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp(min=0)
        moved = (delta * (first | second)).square().sum((2, 3), keepdim=True)
        # Windows have one size, so selecting them row by row leaves a block for each item.
        held = delta[inside].view(batch, colours, side, side)
        signs = _signs(draws[:, 5:, None, None])
        hills = signs * _hills(draws[:, 4, None, None, None], side) + _unit(held, (2, 3))
        gained = _unit(hills, (2, 3)) * (moved + unused / colours).sqrt()
        delta = delta.masked_fill(second, 0).masked_scatter(inside, gained)
        return self._within(delta, images)

    def _within(self, delta: Tensor, images: Tensor) -> Tensor:
        return ball_of(self.budget).project(images + delta, images)


def _signs(draws: Tensor) -> Tensor:
    """Draws in [0, 1) as -1 or 1."""
    return 1 - 2 * (draws < 0.5).to(draws.dtype)


def _unit(values: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Values over their Euclidean norm along `dim`; zero where it is zero."""
    norm: Tensor = torch.linalg.vector_norm(values, dim=dim, keepdim=True)
    return values / norm.clamp(min=torch.finfo(values.dtype).tiny)


def _window(down: Tensor, across: Tensor, side: int, images: Tensor) -> Tensor:
    """Mask (B, 1, H, W) of windows (side, side) whose places are drawn as (B,) in [0, 1)."""
    height, width = images.shape[-2:]
    rows = _covered(down, side, height)
    columns = _covered(across, side, width)
    return rows[:, None, :, None] & columns[:, None, None, :]


def _covered(draws: Tensor, side: int, length: int) -> Tensor:
    """Mask (B, length) of `side` neighbours, from a draw (B,) of the first of them."""
    first = (draws * (length - side + 1)).floor()[:, None]
    position = torch.arange(length, device=draws.device)
    return (position >= first) & (position < first + side)


def _hills(draws: Tensor, side: int) -> Tensor:
    """The paper's eta: two hills of opposite sign and unit norm, lying or standing by the draw.

    `draws` (..., 1, 1) in [0, 1) give (..., side, side).
    """
    upper, lower = _hill(side // 2, side), _hill(side - side // 2, side)
    lying = torch.cat([_unit(upper, (0, 1)), -_unit(lower, (0, 1))])
    lying = _unit(lying, (0, 1)).to(draws)
    return torch.where(draws < 0.5, lying, lying.T)


def _hill(height: int, width: int) -> Tensor:
    """A pyramid (height, width): at distance d from its middle, the sum of 1/j^2 for j > d."""
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    levels = 1 / torch.arange(1, max(height, width) // 2 + 2).square()
    from_above = levels.flip(0).cumsum(0).flip(0)
    return from_above[torch.maximum(rows[:, None], columns[None, :])]
