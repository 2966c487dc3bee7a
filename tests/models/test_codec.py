"""Codebooks and codecs: codes are whole and reachable, gradients pass, a linear start is a fit one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.decomposition import PCA

from beholder.metrics.pictures import psnr
from beholder.models.codebook import CodebookConfig, FiniteScalar, LearnedCodes
from beholder.models.codec import OWN_CODES, PRESETS, ImageCodec
from beholder.models.codec_start import principal_components, rows_among

KINDS = {
    "conv": PRESETS["debug"],
    "vit": PRESETS["debug-vit"],
    "conv with a line": replace(PRESETS["debug"], has_line=True),
    "vit with a line": replace(PRESETS["debug-vit"], has_line=True),
    "slim, with a line and a table that follows": replace(
        PRESETS["conv-64"], codebook=replace(OWN_CODES, num_codes=24), conv=replace(PRESETS["conv-64"].conv, width=8)
    ),
}


@pytest.fixture(params=sorted(KINDS))
def codec(request: pytest.FixtureRequest) -> ImageCodec:
    torch.manual_seed(0)
    return ImageCodec(KINDS[request.param])


def smooth(count: int, height: int = 16, width: int = 16) -> torch.Tensor:
    """Pictures with something to compress in them, -1 to 1."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(count, 3, 3, 3, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear")


@pytest.mark.parametrize("levels", [(4, 4, 4, 4, 4), (8, 5, 3), (2,)])
def test_decoding_undoes_encoding_on_the_grid(levels: tuple[int, ...]) -> None:
    book = FiniteScalar(levels)
    codes = torch.arange(book.num_codes)
    points = book.embed(codes)
    assert len(points.unique(dim=0)) == book.num_codes and points.abs().max() == 1
    found = book(points.clamp(-0.999, 0.999).atanh())  # what the tanh bends onto the point
    assert torch.equal(found.codes, codes)
    assert torch.allclose(found.values, points, atol=1e-6)


def test_every_code_of_a_table_can_be_reached() -> None:
    torch.manual_seed(0)
    for is_unit in (False, True):
        book = LearnedCodes(CodebookConfig("learned", num_codes=64, width=4, is_unit=is_unit))
        assert torch.equal(book(book.embed(torch.arange(64))).codes, torch.arange(64))


def test_gradients_pass_the_codebook() -> None:
    torch.manual_seed(0)
    table = CodebookConfig("learned", num_codes=9, width=3, is_unit=False)
    for book in (FiniteScalar((4, 4, 4)), LearnedCodes(table)):
        points = torch.randn(5, 3, requires_grad=True)
        found = book(points)
        (found.values * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
        assert points.grad is not None and (points.grad > 0).all()
        if isinstance(book, LearnedCodes):
            assert torch.allclose(points.grad, torch.tensor([1.0, 2.0, 3.0]).expand(5, 3))


def test_a_table_is_drawn_to_its_points_and_unused_rows_are_revived() -> None:
    torch.manual_seed(0)
    book = LearnedCodes(CodebookConfig("learned", num_codes=16, width=3))
    points = torch.nn.functional.normalize(torch.randn(40, 3), dim=1)
    found = book(points)
    found.loss.backward()
    assert book.table.grad is not None
    is_used = torch.zeros(16, dtype=torch.bool)
    is_used[found.codes] = True
    before = book.table.detach().clone()
    assert book.revive(is_used, points) == int((~is_used).sum())
    assert torch.equal(book.table[is_used], before[is_used])
    assert all((points == row).all(1).any() for row in book.table[~is_used])


def test_a_picture_is_as_many_codes_as_it_has_squares(codec: ImageCodec) -> None:
    stride = codec.config.stride
    codes = codec.encode(smooth(2, 16, 24))
    assert codes.shape == (2, 16 // stride, 24 // stride)
    assert int(codes.min()) >= 0 and int(codes.max()) < codec.num_codes
    assert codec.decode(codes).shape == (2, 3, 16, 24)


def test_what_is_painted_comes_from_the_codes_alone(codec: ImageCodec) -> None:
    pixels = smooth(3)
    painted, quantised = codec(pixels)
    assert torch.allclose(codec.decode(quantised.codes), painted.clamp(-1, 1), atol=1e-5)
    assert torch.equal(codec.encode(pixels), quantised.codes)


def test_gradients_reach_every_weight(codec: ImageCodec) -> None:
    codec.begin(smooth(8))
    trained = {name: one for name, one in codec.named_parameters() if one.requires_grad}
    others = {name for name, one in codec.named_parameters() if not one.requires_grad}
    assert others <= {"codebook.table", "line_in.weight", "line_in.bias"}
    for weights in trained.values():
        if not weights.any():  # beside a line, and in slim blocks, some begin at zero and let nothing through
            torch.nn.init.normal_(weights, std=0.02)
    painted, quantised = codec(smooth(2))
    (painted.square().mean() + quantised.loss).backward()
    assert not [name for name, one in trained.items() if one.grad is None or not one.grad.abs().sum()]


@pytest.mark.parametrize("kind", ["conv with a line", "vit with a line"])
def test_a_line_starts_from_a_codec_that_is_better_than_a_mean(kind: str) -> None:
    torch.manual_seed(0)
    codec, pixels = ImageCodec(KINDS[kind]), smooth(40)
    codec.begin(pixels[:30])
    asked = pixels[30:] / 2 + 0.5
    painted = codec(pixels[30:])[0].detach() / 2 + 0.5
    plain = asked.mean((2, 3), keepdim=True).expand_as(asked)
    assert psnr(asked, painted).mean() > psnr(asked, plain).mean()


def test_a_table_starts_nearer_than_a_grid_of_as_many_codes_where_squares_come_in_kinds() -> None:
    generator = torch.Generator().manual_seed(2)
    kinds = torch.rand(16, 3, 4, 4, generator=generator) * 2 - 1
    drawn = kinds[torch.randint(16, (64, 16), generator=generator)]  # each picture 4 x 4 of them
    pixels = drawn.unflatten(1, (4, 4)).permute(0, 3, 1, 4, 2, 5).reshape(64, 3, 16, 16)
    shape, errors = replace(PRESETS["debug"], has_line=True), []
    for book in (CodebookConfig(levels=(4, 4)), replace(OWN_CODES, num_codes=16)):
        codec = ImageCodec(replace(shape, codebook=book))
        codec.begin(pixels)
        with torch.no_grad():
            errors.append(float((codec(pixels)[0] - pixels).square().mean()))
    assert errors[1] < 1e-3 < 0.1 < errors[0]


def test_rows_among_fewer_points_than_rows_are_the_points() -> None:
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    rows = rows_among(points.repeat(3, 1), 12)
    assert rows.shape == (12, 3) and torch.equal(rows.unique(dim=0), points.unique(dim=0))


@pytest.mark.parametrize("count", [20, 2_100], ids=["few", "more than are spread out first"])
def test_rows_lie_nearer_to_points_than_points_drawn_do(count: int) -> None:
    points = torch.randn(4_000, 2, generator=torch.Generator().manual_seed(0))
    errors = [torch.cdist(points, rows).amin(1).square().mean() for rows in (rows_among(points, count), points[:count])]
    assert errors[0] < errors[1]
    assert torch.equal(rows_among(points, count), rows_among(points, count))


def test_principal_components_are_those_of_an_independent_implementation() -> None:
    squares = torch.randn(200, 12, generator=torch.Generator().manual_seed(0)).double() @ torch.randn(12, 12).double()
    reference = PCA(4).fit(squares.numpy())
    for is_whitened in (False, True):
        weight, bias = principal_components(squares, 4, is_whitened=is_whitened)
        points = squares @ weight.T + bias
        right = torch.from_numpy(reference.transform(squares.numpy()))
        right = right / right.std(0) if is_whitened else right / right.square().mean().sqrt()
        assert torch.allclose(points.abs(), right.abs(), rtol=1e-2, atol=1e-6)


def test_a_codec_without_a_line_stays_as_it_is() -> None:
    codec = ImageCodec(PRESETS["debug"])
    before = {name: one.clone() for name, one in codec.state_dict().items()}
    codec.begin(smooth(4))
    assert all(torch.equal(one, before[name]) for name, one in codec.state_dict().items())
