"""The pretended device fails where a real one would, and otherwise has the numbers of the CPU."""

import copy

import numpy as np
import pytest
import torch
from pretended_cuda import counting, pretend_cuda
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("pretend_cuda")

MIXED = {
    "sum": lambda x, y: x + y,
    "product": lambda x, y: x @ y,
    "concatenation": lambda x, y: torch.cat([x, y]),
    "choice": lambda x, y: torch.where(y > 0, x, 0.0),
    "in place": lambda x, y: y.add_(x),
    "comparison": torch.equal,
    "convolution": lambda x, y: F.conv2d(x[None, None], y[None, None]),
    "indexed by the other": lambda x, y: y[x.argsort()],
    "other values": lambda x, y: x.index_put((torch.tensor([0]),), y[:1]),
    "scalar in a list": lambda x, y: torch.stack([x.sum(), y.sum()]),
    "gradient": lambda x, y: torch.autograd.grad(x.requires_grad_().exp(), x, y),
    "data": lambda x, y: setattr(x, "data", y),
    "random numbers": lambda x, y: torch.rand(3, generator=torch.Generator(), device="cuda"),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixing_devices_raises(name):
    x = torch.rand(3, 3)
    with pytest.raises(RuntimeError, match="device|incompatible|shape"):
        MIXED[name](x.to("cuda"), torch.rand(3, 3))
    if name not in ("data", "random numbers"):
        MIXED[name](x.to("cuda"), torch.rand(3, 3).to("cuda"))


@pytest.mark.parametrize("convert", [lambda x: x.numpy(), np.asarray, lambda x: np.add(x, 1)])
def test_numpy_needs_a_copy_on_the_host(convert):
    x = torch.arange(3.0, device="cuda")
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        convert(x)
    assert convert(x.cpu()).shape == (3,)


def test_device_that_does_not_exist_is_refused():
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(3).to("cuda:1")
    with pretend_cuda(2):
        first, second = (torch.ones(3, device=f"cuda:{index}") for index in (0, 1))
        assert second.device.index == 1 and (second + second).device == second.device
        with pytest.raises(RuntimeError, match="same device"):
            first + second
        assert torch.equal(first.to(second.device), second)


def test_scalar_of_the_host_and_indices_of_the_host_mix():
    x = torch.arange(4.0, device="cuda")
    assert (x * torch.tensor(2.0)).cpu().tolist() == [0, 2, 4, 6]
    with counting() as counts:
        assert x[torch.tensor([3, 0])].device.type == "cuda"
    assert counts.syncs == 1


class Scaled(nn.Module):
    """A module with a bug: a constant that does not move with it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.factor = torch.full((4, 1, 1), 2.0)

    def forward(self, x):
        return self.layer(x) * self.factor


def test_a_seeded_bug_is_found():
    module, x = Scaled(), torch.rand(1, 3, 8, 8)
    expected = module(x).detach()
    module.to("cuda")
    with pytest.raises(RuntimeError, match="aten::mul: Expected all tensors to be on the same"):
        module(x.cuda())
    module.factor = module.factor.to("cuda")
    assert torch.equal(module(x.cuda()).cpu(), expected)


def test_parameters_that_move_stay_the_same_objects():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(module.parameters())
    parameters, values = list(module.parameters()), copy.deepcopy(module.state_dict())
    for device in ("cuda", "cpu", "cuda"):
        module.to(device)
        assert all(a is b for a, b in zip(parameters, module.parameters(), strict=True))
        assert {p.device.type for p in parameters} == {device}
        assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in parameters)
    assert all(torch.equal(values[name], v.cpu()) for name, v in module.state_dict().items())
    copied = copy.deepcopy(module)
    module(torch.rand(1, 3, 8, 8, device="cuda")).square().sum().backward()
    optimizer.step()
    assert not torch.equal(copied[0].weight, module[0].weight)
    copied.load_state_dict(module.state_dict())
    assert torch.equal(copied[0].weight, module[0].weight)


def test_gradients_pass_between_devices():
    x = torch.rand(3, requires_grad=True)
    (x.to("cuda").square().sum().cpu() + x.sum()).backward()
    assert torch.allclose(x.grad, 2 * x.detach() + 1)


@pytest.mark.parametrize(
    "wait, expected",
    [
        (lambda x: x.sum().item(), 1),
        (lambda x: bool((x > 0).all()), 1),
        (lambda x: x.tolist(), 1),
        (lambda x: x.cpu(), 1),
        (lambda x: x[x > 0], 1),
        (lambda x: torch.linalg.eigh(x[:, None] * x), 1),
        (lambda x: x.copy_(torch.zeros(4)), 1),
        (lambda x: torch.tensor([1.0], device=x.device), 1),
        (lambda x: torch.cuda.synchronize(), 1),
        (lambda x: x.cumsum(0)[:2].square().mean(), 0),
        (lambda x: torch.arange(4, device=x.device) + x.new_zeros(4), 0),
        (lambda x: x.cpu().pin_memory().to("cuda", non_blocking=True), 1),
        (lambda x: nn.utils.clip_grad_norm_([x.requires_grad_()], 1.0), 0),
    ],
)
def test_waits_of_the_host_are_counted(wait, expected):
    x = torch.rand(4, device="cuda")
    with counting() as counts:
        wait(x)
    assert counts.syncs == expected == sum(counts.where.values())


def test_kernels_are_counted_without_views():
    x = torch.rand(4, 4, device="cuda")
    with counting() as counts:
        (x.t()[1:].exp() + 1).sum()
    assert counts.kernels == 3


def test_everything_is_as_before_afterwards():
    with pretend_cuda(3):
        assert torch.cuda.device_count() == 3
    assert torch.cuda.device_count() == 1


def test_files_have_tensors_of_the_host(tmp_path):
    torch.save({"x": torch.arange(3, device="cuda")}, tmp_path / "x.pt")
    assert torch.load(tmp_path / "x.pt", weights_only=True)["x"].tolist() == [0, 1, 2]
