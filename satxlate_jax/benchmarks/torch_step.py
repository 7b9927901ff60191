"""One whole training step of the published networks in plain PyTorch, on a CPU or a GPU: the thing to be faster than.

A program of its own, which needs nothing but torch: `satxlate bench torch` runs it, by any Python that has PyTorch.
Written from the equations of the paper with PyTorch's own layers.
"""

import json
import resource
import statistics
import sys
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode


def _lrelu(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(x, 0.2)


class _Residual(nn.Module):
    def __init__(self, dim: int, activation: Any):
        super().__init__()
        self.first, self.second = (nn.Conv2d(dim, dim, 3, padding=1) for _ in range(2))
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.activation(self.first(x)))


class _Generator(nn.Module):
    def __init__(self, bands: list[int], dim: int, n_res: int):
        super().__init__()
        self.inputs = nn.ModuleList(nn.Conv2d(count, dim, 7, padding=3) for count in bands)
        self.encoders = nn.ModuleList(nn.Sequential(*(_Residual(dim, _lrelu) for _ in range(n_res))) for _ in bands)
        self.shared = _Residual(dim, functional.relu)
        self.decoders = nn.ModuleList(
            nn.Sequential(*(_Residual(dim, _lrelu) for _ in range(n_res)), nn.Conv2d(dim, count, 3, padding=1))
            for count in bands
        )

    def encode(self, x: torch.Tensor, satellite: int) -> torch.Tensor:
        return self.shared(self.encoders[satellite](_lrelu(self.inputs[satellite](x))))

    def decode(self, z: torch.Tensor, satellite: int) -> torch.Tensor:
        return self.decoders[satellite](z)


def _discriminator(bands: int, dim: int) -> nn.Module:
    widths = ((bands, dim), (dim, 2 * dim))
    halving = [nn.Conv2d(*pair, 4, stride=2, padding=1, padding_mode="reflect") for pair in widths]
    return nn.Sequential(halving[0], nn.LeakyReLU(0.2), halving[1], nn.LeakyReLU(0.2), nn.Conv2d(2 * dim, 1, 1))


def _mse(a: torch.Tensor, b: torch.Tensor | float) -> torch.Tensor:
    return ((a - b) ** 2).mean()


class Step:
    """The generator's update and the discriminators'; decodes `repeated` as in the release, or `once`."""

    def __init__(self, settings: dict[str, Any], device: torch.device, layout: torch.memory_format):
        torch.manual_seed(0)
        bands = settings["bands"]
        self.every, self.repeated = range(len(bands)), settings["decodes"] == "repeated"
        self.generator = _Generator(bands, settings["dim"], settings["n_res"]).to(device, memory_format=layout)
        judges = nn.ModuleList(_discriminator(count, settings["judge_dim"]) for count in bands)
        self.judges = judges.to(device, memory_format=layout)
        adam = {"lr": 1e-4, "betas": (0.5, 0.999), "weight_decay": 1e-4}
        self.optimizers = [torch.optim.Adam(each.parameters(), **adam) for each in (self.generator, self.judges)]
        self.cast = torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bfloat16")
        self.losses = [self._generator_loss, self._judges_loss]

    def _generator_loss(self, xs: list[torch.Tensor]) -> Any:
        every, encode, decode = self.every, self.generator.encode, self.generator.decode
        z = [encode(x, s) for s, x in enumerate(xs)]
        n = [torch.randn_like(a) for a in z]
        first = {(s, q): decode(z[s] + n[s], q) for s in every for q in every}
        loss = sum(_mse(xs[s], first[s, s]) for s in every)
        for s, q in ((s, q) for s in every for q in every):
            if q != s:
                loss = loss + _mse(self.judges[q](first[s, q]), 1.0) + 0.1 * _mse(xs[s], first[s, q])
            again = encode(decode(z[s] + n[s], q) if self.repeated else first[s, q], q)
            loss = loss + _mse(xs[s], decode(again + n[s], s)) + _mse(z[s], again) + 0.01 * (again**2).mean()
        return loss

    def _judges_loss(self, xs: list[torch.Tensor]) -> Any:
        with torch.no_grad():
            z = [self.generator.encode(x, s) for s, x in enumerate(xs)]
            noisy = [a + torch.randn_like(a) for a in z]
            fakes = {(s, q): self.generator.decode(noisy[s], q) for s in self.every for q in self.every}
        judged = (_mse(self.judges[q](fakes[s, q]), 0.0) + _mse(self.judges[q](xs[q]), 1.0) for s, q in fakes)
        return sum(judged)

    def __call__(self, xs: list[torch.Tensor]) -> None:
        """Take it."""
        for optimizer, loss in zip(self.optimizers, self.losses, strict=True):
            optimizer.zero_grad(set_to_none=True)
            with self.cast:
                value = loss(xs)
            value.backward()
            optimizer.step()


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Time steps on random images; returns what `satxlate bench torch` prints."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    has_gpu = device.type == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings["precision"] == "tf32"
    torch.backends.cudnn.benchmark = True
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    step, size = Step(settings, device, layout), settings["size"]
    xs = [torch.randn(settings["batch"], count, size, size, device=device) for count in settings["bands"]]
    xs = [x.to(memory_format=layout) for x in xs]
    with FlopCounterMode(display=False) as counter:
        step(xs)
    if settings["compile"]:
        step.losses = [torch.compile(loss) for loss in step.losses]
    wait = torch.cuda.synchronize if has_gpu else (lambda: None)
    seconds = []
    for _ in range(settings["steps"] + (10 if has_gpu else 2)):  # the first compile, and choose algorithms
        wait()
        start = time.perf_counter()
        step(xs)
        wait()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "version": torch.__version__,
        "device": torch.cuda.get_device_name() if has_gpu else f"cpu, {torch.get_num_threads()} threads",
        "compiled": seconds[0] if settings["compile"] else 0.0,
        "operations": counter.get_total_flops(),
        "seconds": statistics.median(seconds[-settings["steps"] :]),
        "peak": torch.cuda.max_memory_allocated() if has_gpu else peak,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
