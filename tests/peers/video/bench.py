"""Times the same dual-stream transformer in PyTorch and in Kinora, on one machine in one run.

    python tests/peers/video/bench.py [--size nano] [--batch 48] [--device cpu|cuda] [--kinora PATH]

Prints one line a measurement: milliseconds of a training step (forward, backward, Muon and AdamW) and of a
sampling step (one clip, with and without its prompt), for Kinora, for eager and for compiled PyTorch, and
Kinora's time over each. The network is written here from its description in `training/src/model`, with the
same widths, tokens and optimizers; weights are random on both sides.
"""

import argparse
import json
import math
import statistics
import subprocess
import time

import torch
from torch import nn
from torch.nn import functional as F

SIZES = {  # width, heads, layers, feed-forward, text layers
    "nano": (160, 5, 6, 3, 1),
    "small": (384, 6, 12, 4, 2),
    "base": (768, 12, 16, 4, 4),
    "large": (1024, 16, 24, 4, 6),
}
ACTORS, TOKENS, WORDS, LOOK, VOICE_CODE, VOCABULARY = 3, 24, 28, 23, 4, 128
# Numbers of a token of tracks, an actor, the stage, a token of sound and the voice, and of their masks.
PARTS = [(4 * 66, 4), (40, 1), (27, 1), (8 * (2 + 6 + 6), 1), (6, 1)]
COUNTS = [TOKENS, ACTORS, 1, TOKENS, 1]


def norm(x):
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


def split(x, heads):
    batch, tokens, width = x.shape
    return x.view(batch, tokens, heads, width // heads).transpose(1, 2)


def turn(x, cos, sin):
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def modulate(x, modulation, first):
    return norm(x) * (1 + modulation[:, first + 1 : first + 2]) + modulation[:, first : first + 1]


class Timestep(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(64, width), nn.Linear(width, 6 * width)

    def forward(self, t):
        rates = 1.5 * 1.18 ** torch.arange(32, device=t.device)
        angles = t[:, None] * rates
        features = torch.cat([angles.cos(), angles.sin()], -1)
        return self.second(F.silu(self.first(features))).view(len(t), 6, -1)


class Stream(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, hidden * width, bias=False)
        self.down = nn.Linear(hidden * width, width, bias=False)
        self.gain = nn.Parameter(torch.full((width // heads,), 2.0))
        self.modulation = nn.Parameter(torch.zeros(6, width))

    def project(self, x, modulation, cos, sin):
        q, k, v = self.qkv(modulate(x, modulation, 0)).chunk(3, -1)
        q, k, v = (split(part, self.heads) for part in (q, k, v))
        return turn(norm(q) * self.gain, cos, sin), turn(norm(k), cos, sin), v

    def finish(self, x, attended, modulation):
        x = x + self.out(attended.transpose(1, 2).flatten(2)) * modulation[:, 2:3]
        hidden = F.relu(self.up(modulate(x, modulation, 3))).square()
        return x + self.down(hidden) * modulation[:, 5:6]


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.picture, self.sound = Stream(width, heads, hidden), Stream(width, heads, hidden)
        self.context = nn.Linear(width, 2 * width, bias=False)

    def forward(self, picture, sound, context, times, turns):
        modulations = [times[0] + self.picture.modulation, times[1] + self.sound.modulation]
        qp, kp, vp = self.picture.project(picture, modulations[0], *turns[0])
        qs, ks, vs = self.sound.project(sound, modulations[1], *turns[1])
        kc, vc = self.context(context).chunk(2, -1)
        kc, vc = norm(split(kc, self.heads)), split(vc, self.heads)
        attended = F.scaled_dot_product_attention(
            torch.cat([qp, qs], 2), torch.cat([kp, ks, kc], 2), torch.cat([vp, vs, vc], 2)
        )
        count = picture.shape[1]
        return (
            self.picture.finish(picture, attended[:, :, :count], modulations[0]),
            self.sound.finish(sound, attended[:, :, count:], modulations[1]),
        )


class TextBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x):
        q, k, v = (split(part, self.heads) for part in self.qkv(norm(x)).chunk(3, -1))
        attended = F.scaled_dot_product_attention(norm(q), norm(k), v)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.relu(self.up(norm(x))).square())


class Transformer(nn.Module):
    def __init__(self, width, heads, layers, hidden, text_layers):
        super().__init__()
        self.into = nn.ModuleList(nn.Linear(2 * numbers + mask, width) for numbers, mask in PARTS)
        self.outs = nn.ModuleList(nn.Linear(width, numbers) for numbers, _ in PARTS)
        self.places = nn.ParameterList(
            nn.Parameter(0.3 * torch.randn(count, width)) for count in (TOKENS + ACTORS + 1, TOKENS + 1)
        )
        self.words = nn.Embedding(VOCABULARY + 2, width)
        self.word_places = nn.Parameter(0.5 * torch.randn(WORDS, width))
        self.text = nn.ModuleList(TextBlock(width, heads) for _ in range(text_layers))
        self.look, self.voice = nn.Linear(LOOK, width), nn.Linear(VOICE_CODE, width)
        self.times = nn.ModuleList(Timestep(width) for _ in range(2))
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        pairs = width // heads // 2
        rates = 2 * math.pi / (0.33 * (8 / 0.33) ** (torch.arange(pairs) / max(pairs - 1, 1)))
        seconds = (torch.arange(TOKENS) * 4 + 1.5) / 24
        for name, extra in (("picture", ACTORS + 1), ("sound", 1)):
            angles = torch.cat([seconds, -torch.ones(extra)])[:, None] * rates
            self.register_buffer(f"{name}_cos", angles.cos()), self.register_buffer(f"{name}_sin", angles.sin())

    def forward(self, parts, times, words, looks, voice):
        x = self.words(words) + self.word_places
        for block in self.text:
            x = block(x)
        context = torch.cat([norm(x), self.look(looks), self.voice(voice)], 1)
        embedded = [layer(part) for layer, part in zip(self.into, parts)]
        picture = torch.cat(embedded[:3], 1) + self.places[0]
        sound = torch.cat(embedded[3:], 1) + self.places[1]
        times = [layer(t) for layer, t in zip(self.times, times)]
        turns = [(self.picture_cos, self.picture_sin), (self.sound_cos, self.sound_sin)]
        for block in self.blocks:
            picture, sound = block(picture, sound, context, times, turns)
        picture, sound = modulate(picture, times[0], 0), modulate(sound, times[1], 0)
        tokens = [*picture.split([TOKENS, ACTORS, 1], 1), *sound.split([TOKENS, 1], 1)]
        return [layer(part) for layer, part in zip(self.outs, tokens)]


def inputs(batch, device):
    return (
        [torch.randn(batch, count, 2 * n + m, device=device) for count, (n, m) in zip(COUNTS, PARTS)],
        [torch.rand(batch, device=device) for _ in range(2)],
        torch.full((batch, WORDS), 2, device=device),
        torch.randn(batch, ACTORS, LOOK, device=device),
        torch.randn(batch, 1, VOICE_CODE, device=device),
    )


def median_ms(step, steps, device):
    times = []
    for index in range(steps + 3):
        started = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        if index >= 3:
            times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def measure(size, batch, steps, device, compiled):
    torch.manual_seed(1)
    model = Transformer(*SIZES[size]).to(device)
    matrices = [p for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2
                and "modulation" not in name]
    ids = {id(p) for p in matrices}
    optimizers = [
        torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.0, ns_steps=3),
        torch.optim.AdamW([p for p in model.parameters() if id(p) not in ids], lr=1e-3, weight_decay=0.0),
    ]
    network = torch.compile(model) if compiled else model
    data, one = inputs(batch, device), inputs(2, device)

    def train():
        out = network(*data)
        loss = sum(part.square().mean() for part in out)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def sample():
        with torch.no_grad():
            network(*one)

    parameters = sum(p.numel() for p in model.parameters())
    return parameters, median_ms(train, steps, device), median_ms(sample, steps, device)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--size", default="nano", choices=SIZES)
    arguments.add_argument("--batch", type=int, default=48)
    arguments.add_argument("--steps", type=int, default=15)
    arguments.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments.add_argument("--kinora", default="kinora")
    arguments.add_argument("--rounds", type=int, default=3)
    args = arguments.parse_args()
    rows = {"kinora": [], "eager": [], "compiled": []}
    for _ in range(args.rounds):  # in turns, so that a busy moment hits all of them
        command = [args.kinora, "bench", "video", "--size", args.size, "--batch", str(args.batch),
                   "--steps", str(args.steps), "--device", args.device.replace("cuda", "cuda:0"), "--json"]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows["kinora"].append((report["parameters"], report["train_step_ms"], report["sample_step_ms"]))
        for name in ("eager", "compiled"):
            torch.compiler.reset()
            rows[name].append(measure(args.size, args.batch, args.steps, args.device, name == "compiled"))
    middle = {name: [statistics.median(column) for column in zip(*found)] for name, found in rows.items()}
    print(f"{args.size}, batch {args.batch}, {args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, (parameters, train, sample) in middle.items():
        ratio = [mine / theirs for mine, theirs in zip(middle["kinora"][1:], (train, sample))]
        print(f"{name:9} {parameters / 1e6:6.2f}M  training step {train:8.1f} ms (kinora x{ratio[0]:.2f})"
              f"  sampling step {sample:7.2f} ms (kinora x{ratio[1]:.2f})")


if __name__ == "__main__":
    main()
