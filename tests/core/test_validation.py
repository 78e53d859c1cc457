"""Checks of what users define."""

import pytest
import torch

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information
from rdpipe.core.validation import (
    check_finite,
    check_information,
    check_method,
    check_tensor,
    check_unchanged,
    check_variances,
)

LIKE = torch.zeros(2, 3)


class Part:
    information = "genie"

    def code(self, r, v): ...


def test_information_is_parsed():
    assert check_information("mean 'm'", Part()) is Information.GENIE


@pytest.mark.parametrize(
    "part, message",
    [
        (object(), "m has no attribute 'information'; expected one of: 'decodable', 'genie'"),
        (Part, "m is the class Part; expected an instance of it"),
        (type("P", (), {"information": "Genie"})(), "m: 'Genie' is not a valid information"),
    ],
)
def test_unknown_information_is_refused(part, message):
    with pytest.raises(InputError, match=message):
        check_information("m", part)


def test_method_with_the_parameters_passes():
    check_method("m", Part(), "code", ("r", "v"))
    check_method("m", max, "__call__", ("r", "v"))  # has no signature


@pytest.mark.parametrize(
    "method, parameters, message",
    [
        ("read", ("v",), r"m has no method 'read'; expected read\(v\)"),
        ("code", ("r",), r"m has code\(r, v\); expected code\(r\)"),
        ("information", (), "m has no method 'information'"),
    ],
)
def test_missing_or_different_method_is_refused(method, parameters, message):
    with pytest.raises(InputError, match=message):
        check_method("m", Part(), method, parameters)


def test_tensor_of_the_shape_passes_without_its_graph():
    value = torch.ones(2, 3, requires_grad=True)
    assert torch.equal(check_tensor("m", value, LIKE), LIKE + 1)
    assert not check_tensor("m", value, LIKE).requires_grad


@pytest.mark.parametrize(
    "value, message",
    [
        (LIKE.numpy(), "m returned a ndarray; expected a torch.Tensor"),
        (torch.zeros(3, 2), r"m returned a tensor of shape \(3, 2\); expected \(2, 3\)"),
        (LIKE.long(), "m returned a tensor of torch.int64; expected a floating-point type"),
        (LIKE.to("meta"), "m returned a tensor on meta; expected cpu"),
    ],
)
def test_tensor_that_cannot_be_used_is_refused(value, message):
    with pytest.raises(InputError, match=message):
        check_tensor("m", value, LIKE)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(value):
    check_finite("m", LIKE)
    with pytest.raises(InputError, match="m returned numbers that are not finite"):
        check_finite("m", torch.tensor([0.0, value]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e-9])
def test_invalid_variance_is_named(value):
    check_variances("m", LIKE)
    check_variances("m", torch.zeros(0))
    with pytest.raises(InputError, match=f"m returned {value:g}; expected finite numbers >= 0"):
        check_variances("m", torch.tensor([2.0, value]))


def test_change_in_place_is_refused():
    r, v = torch.ones(3), torch.ones(3)
    with check_unchanged("m", r=r, v=v):
        v + 1
    with pytest.raises(InputError, match="m changed v in place; expected a new tensor"):
        with check_unchanged("m", r=r, v=v):
            v[0] += 1


def test_tensors_of_inference_mode_are_not_followed():
    with torch.inference_mode():
        r = torch.ones(3)
        with check_unchanged("m", r=r):
            r += 1
