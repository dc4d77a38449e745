"""Times Kinora's ranker and its index beside other libraries, on one machine in one run.

    python tests/peers/ranker/bench.py ranker [--candidates 1500] [--history 200] [--pages 200] [--kinora PATH]
    python tests/peers/ranker/bench.py index [--items 1000000] [--width 64] [--queries 1000] [--kinora PATH]

`ranker` builds the network of `ranking/src/model.rs` in PyTorch with the widths that `kinora bench ranker` reports,
and times one page (one person, many clips) on one core in eager PyTorch, compiled PyTorch and ONNX Runtime, then
training steps on all cores. `index` draws vectors, hands the same ones to `kinora bench index`, usearch, hnswlib and
a matrix product in NumPy, and measures recall and searches a second on one core. `--json FILE` keeps the figures.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path


def kinora(program, *arguments):
    done = subprocess.run([program, "bench", *map(str, arguments), "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)


def timed(call, count, warm_up=5):
    """Median and 99th percentile of a call, in milliseconds."""
    times = []
    for number in range(count + warm_up):
        started = time.perf_counter()
        call()
        if number >= warm_up:
            times.append((time.perf_counter() - started) * 1e3)
    times.sort()
    return {"median_ms": statistics.median(times), "p99_ms": times[int(0.99 * len(times))]}


# --- The ranker


def network(shape, max_history):
    import torch
    from torch import nn
    from torch.nn import functional as F

    s = argparse.Namespace(**shape)

    class Ranker(nn.Module):
        def __init__(self):
            super().__init__()
            d, wide = s.embedding, s.dense + s.bins_width
            width = wide + 9 * d
            self.bins = nn.Embedding(s.bins, s.bins_width)
            self.tokens = nn.Embedding(s.token_rows, d)
            self.videos = nn.Embedding(s.video_rows, d)
            self.recency = nn.Embedding(max_history + 1, d)
            self.outcomes = nn.Linear(s.tasks, d, bias=False)
            self.query = nn.Linear(d, d, bias=False)
            self.key = nn.Linear(d, d, bias=False)
            self.experts_in = nn.Linear(width, s.experts * s.hidden)
            self.experts_out = nn.Parameter(torch.randn(s.experts, s.hidden, s.expert) * 0.1)
            self.gates = nn.Linear(width, s.heads * s.experts)
            self.towers = nn.Parameter(torch.randn(s.heads, s.expert, s.tower) * 0.1)
            self.heads = nn.Parameter(torch.randn(s.heads, s.tower, 1) * 0.1)
            self.wide = nn.Linear(wide, s.heads, bias=False)
            self.bias = nn.Parameter(torch.zeros(s.heads))
            self.places = nn.Embedding(s.places, s.heads)  # Of training alone.

        def pool(self, tokens):
            # Lists are as long as the shape says, so that no mask is needed.
            return self.tokens(tokens).sum(1) / tokens.shape[1] ** 0.5

        def forward(self, dense, bins, video, clips, moments, people, history, recency, outcomes):
            rows, d = dense.shape[0], s.embedding
            clip, moment, user = self.pool(clips), self.pool(moments), self.pool(people)
            target = self.videos(video).squeeze(1) + clip
            items = self.videos(history) + self.outcomes(outcomes) + self.recency(recency)
            keys, average = self.key(items), items.mean(1)
            query = self.query(target) / d**0.5
            if history.shape[0] == 1:  # One person, read once for all clips.
                interest = F.softmax(query @ keys[0].T, 1) @ items[0]
                user, average = user.expand(rows, d), average.expand(rows, d)
            else:
                weights = F.softmax((keys @ query.unsqueeze(2)).squeeze(2), 1)
                interest = (items * weights.unsqueeze(2)).sum(1)
            dense = torch.cat([dense, self.bins(bins).sum(1)], 1)
            crossed = [target * interest, target * user, user * clip]
            x = torch.cat([dense, user, clip, moment, target, interest, average, *crossed], 1)
            gates = F.softmax(self.gates(x).view(rows, s.heads, s.experts), 2)
            hidden = F.relu(self.experts_in(x)).view(rows, s.experts, s.hidden).transpose(0, 1)
            answers = F.relu(hidden @ self.experts_out).transpose(0, 1)
            mixed = (gates @ answers).transpose(0, 1)
            heads = (F.relu(mixed @ self.towers) @ self.heads).squeeze(2).T
            return heads + self.wide(dense) + self.bias

    return Ranker()


def batch(shape, rows, people, history, max_history):
    import torch

    s = argparse.Namespace(**shape)
    draw = lambda rows_of, *size: torch.randint(2, rows_of, size)
    return (
        torch.randn(rows, s.dense),
        torch.arange(s.dense) * (s.bins // s.dense) + draw(s.bins // s.dense, rows, s.dense),
        draw(s.video_rows, rows, 1),
        draw(s.token_rows, rows, s.video_tokens),
        draw(s.token_rows, rows, s.context_tokens),
        draw(s.token_rows, people, s.user_tokens),
        draw(s.video_rows, people, history),
        torch.arange(history).flip(0).expand(people, history).contiguous().clamp(max=max_history),
        torch.randint(0, 2, (people, history, s.tasks)).float(),
    )


def ranker(options):
    import onnxruntime
    import torch
    from torch.nn import functional as F

    ours = kinora(
        options.kinora, "ranker", "--candidates", options.candidates, "--history", options.history,
        "--pages", options.pages,
    )
    torch.manual_seed(1)
    model = network(ours["shape"], ours["max_history"])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == ours["parameters"], f"{parameters} parameters here, {ours['parameters']} in Kinora"
    page = batch(ours["shape"], options.candidates, 1, options.history, ours["max_history"])

    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {"kinora": ours, "torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "page": {}}
    with torch.inference_mode():
        found["page"]["eager"] = timed(lambda: model(*page), options.pages)
        compiled = torch.compile(model)
        found["page"]["compiled"] = timed(lambda: compiled(*page), options.pages)
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "ranker.onnx")
        torch.onnx.export(model.eval(), page, path, dynamo=True, verbose=False)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        feed = {it.name: value.numpy() for it, value in zip(session.get_inputs(), page)}
        (answer,) = session.run(None, feed)
        assert abs(torch.from_numpy(answer) - model(*page)).max() < 1e-3, "ONNX Runtime answers something else"
        found["page"]["onnxruntime"] = timed(lambda: session.run(None, feed), options.pages)

    torch.set_num_threads(cores)
    size = ours["train"]["batch"]
    rows = batch(ours["shape"], size, size, options.history, ours["max_history"])
    places = 1 + torch.arange(size) % 10
    targets = torch.full((size, ours["shape"]["heads"]), 0.1)
    found["train"] = {}
    for name, forward in [("eager", model), ("compiled", torch.compile(model))]:
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

        def step():
            loss = F.binary_cross_entropy_with_logits(forward(*rows) + model.places(places), targets, reduction="sum") / size
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss.item()

        found["train"][name] = timed(step, min(options.pages, 40))

    print(f"{options.candidates} clips, history {options.history}; one core; milliseconds (median, 99 %), Kinora over it")
    network_ms = ours["network"]["median_ms"]
    for name, times in [("kinora", ours["network"]), *found["page"].items()]:
        print(f"  network  {name:<14}{times['median_ms']:>9.2f}{times['p99_ms']:>9.2f}{network_ms / times['median_ms']:>8.2f}")
    print(f"  page     kinora        {ours['page']['median_ms']:>9.2f}{ours['page']['p99_ms']:>9.2f}")
    load = ours["load"]
    print(f"  page, {load['threads']} at once      {load['median_ms']:>9.2f}{load['p99_ms']:>9.2f}   {load['pages_per_s']:.0f} pages/s")
    print(f"training step of {size}, {cores} cores; milliseconds (median), examples/s, Kinora over it")
    step_ms = ours["train"]["step_ms"]
    for name, ms in [("kinora", step_ms), *((name, it["median_ms"]) for name, it in found["train"].items())]:
        print(f"  train    {name:<14}{ms:>9.2f}{1e3 * size / ms:>9.0f}{step_ms / ms:>8.2f}")
    return found


# --- The index


def draw(count, centres, rng):
    import numpy as np

    vectors = centres[rng.integers(0, len(centres), count)]
    vectors += 0.6 * rng.standard_normal(vectors.shape, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def searched(search, queries, truth, count):
    """Recall, searches a second and times of one search after another."""
    times, hits = [], 0
    for query, nearest in zip(queries, truth):
        started = time.perf_counter()
        found = search(query)
        times.append((time.perf_counter() - started) * 1e3)
        hits += len(set(map(int, found)) & nearest)
    times.sort()
    return {
        "recall": hits / (count * len(queries)),
        "queries_per_s": 1e3 * len(times) / sum(times),
        "median_ms": statistics.median(times),
        "p99_ms": times[int(0.99 * len(times))],
    }


def index(options):
    import hnswlib
    import numpy as np
    import usearch.index as usearch

    rng, count = np.random.default_rng(1), 10
    centres = rng.standard_normal((10_000, options.width), dtype=np.float32)
    items, queries = draw(options.items, centres, rng), draw(options.queries, centres, rng)
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / name for name in ("items.f32", "queries.f32")]
        items.tofile(paths[0])
        queries.tofile(paths[1])
        ours = kinora(
            options.kinora, "index", "--vectors", paths[0], "--queries", paths[1], "--width", options.width,
            "--count", count,
        )

    def exact(query):
        scores = items @ query
        near = np.argpartition(scores, -count)[-count:]
        return near[np.argsort(-scores[near])]

    truth = [set(map(int, exact(query))) for query in queries]
    rows = [("numpy, every item", 0.0, searched(exact, queries, truth, count))]

    started = time.perf_counter()
    theirs = usearch.Index(
        ndim=options.width, metric="ip", dtype="f16", connectivity=32, expansion_add=256, expansion_search=256
    )
    theirs.add(np.arange(len(items)), items, threads=os.cpu_count())
    built = time.perf_counter() - started
    for width in (64, 128, 256):
        theirs.expansion_search = width
        search = lambda query: theirs.search(query, count, threads=1).keys
        rows.append((f"usearch, width {width}", built, searched(search, queries, truth, count)))
    del theirs

    started = time.perf_counter()
    theirs = hnswlib.Index(space="ip", dim=options.width)
    theirs.init_index(max_elements=len(items), ef_construction=256, M=32)
    theirs.add_items(items, num_threads=os.cpu_count())
    built = time.perf_counter() - started
    theirs.set_num_threads(1)
    for width in (64, 128, 256):
        theirs.set_ef(width)
        search = lambda query: theirs.knn_query(query, count)[0][0]
        rows.append((f"hnswlib, width {width}", built, searched(search, queries, truth, count)))

    mine = [(f"kinora, {it['method']}", ours["build_s"] if it["method"] == "graph" else 0.0, it) for it in ours["methods"]]
    print(f"{len(items)} vectors of {options.width}, {len(queries)} queries for {count}, one core; built on all cores")
    print(f"{'':<22}{'built s':>9}{'recall':>9}{'queries/s':>11}{'median ms':>11}{'99 % ms':>9}")
    for name, built, it in mine + rows:
        print(
            f"{name:<22}{built:>9.1f}{it['recall']:>9.4f}{it['queries_per_s']:>11.0f}"
            f"{it['median_ms']:>11.3f}{it['p99_ms']:>9.3f}"
        )
    return {"kinora": ours, "peers": [{"name": name, "build_s": built, **it} for name, built, it in rows]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinora", default="target/release/kinora", help="the built program")
    parser.add_argument("--json", type=Path, help="where the figures go")
    kinds = parser.add_subparsers(dest="kind", required=True)
    pages = kinds.add_parser("ranker")
    pages.add_argument("--candidates", type=int, default=1500)
    pages.add_argument("--history", type=int, default=200)
    pages.add_argument("--pages", type=int, default=200)
    vectors = kinds.add_parser("index")
    vectors.add_argument("--items", type=int, default=1_000_000)
    vectors.add_argument("--width", type=int, default=64)
    vectors.add_argument("--queries", type=int, default=1000)
    options = parser.parse_args()
    found = ranker(options) if options.kind == "ranker" else index(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
