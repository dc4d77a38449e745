"""Smoothed rates, LightGBM and a PyTorch DIN on the files that `kinora train ranker --impressions` takes.

    python tests/peers/ranker/peers.py --train FILE... --test FILE... --history FILE --users FILE --videos FILE

Prints one JSON document: for each peer the AUC and gAUC of click, long view and like, and the MAE (seconds)
and XAUC of watch time. Every peer sees an impression through strictly earlier days, and the test through the
last training day. gAUC weighs the people with both outcomes by their impressions.
"""

import argparse
import json
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F

HEADS = {"click": "is_click", "long_view": "long_view", "like": "is_like"}
DAY_MS, CHINA_MS = 86_400_000, 8 * 3_600_000
HISTORY = 50


def table(path):
    path = Path(path)
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def grouped_auc(people, outcome, score):
    rows = pd.DataFrame({"person": people, "y": outcome, "rank": score})
    rows["rank"] = rows.groupby("person")["rank"].rank()
    rows["positive"] = rows["rank"] * rows["y"]
    by = rows.groupby("person").agg(n=("y", "size"), k=("y", "sum"), r=("positive", "sum"))
    by = by[(by.k > 0) & (by.k < by.n)]
    auc = (by.r - by.k * (by.k + 1) / 2) / (by.k * (by.n - by.k))
    return float((auc * by.n).sum() / by.n.sum())


def xauc(predicted, watched, pairs=2_000_000):
    rng = np.random.default_rng(0)
    i, j = rng.integers(0, len(watched), (2, pairs))
    unequal = watched[i] != watched[j]
    i, j = i[unequal], j[unequal]
    right = np.where(predicted[i] == predicted[j], 0.5, (predicted[i] > predicted[j]) == (watched[i] > watched[j]))
    return float(right.mean())


def figures(test, scores, watch_s):
    people, watched = test.user_id.values, test.play_time_ms.values / 1000
    out = {}
    for head, column in HEADS.items():
        y = test[column].values.astype(int)
        out[head] = {"auc": float(roc_auc_score(y, scores[head])), "grouped_auc": grouped_auc(people, y, scores[head])}
    out["watch"] = {"mae_s": float(np.abs(watch_s - watched).mean()), "xauc": xauc(watch_s, watched)}
    return out


class Data:
    """All rows, their day, and the attributes as numbers."""

    def __init__(self, args):
        train, test = (pd.concat(map(table, paths)) for paths in (args.train, args.test))
        columns = ["user_id", "video_id", "time_ms", "tab", "duration_ms", "play_time_ms", *HEADS.values()]
        self.rows = pd.concat([train, test])[columns].astype("int64").reset_index(drop=True)
        self.is_test = np.arange(len(self.rows)) >= len(train)
        day = ((self.rows.time_ms + CHINA_MS) // DAY_MS).values.astype(int)
        # The test rows are one day: they see the state that training ends with.
        self.day = np.where(self.is_test, day[~self.is_test].max() + 1, day)
        history, users, videos = table(args.history), table(args.users), table(args.videos)
        ids = lambda *columns: {id: at for at, id in enumerate(sorted(set().union(*columns)))}
        self.user_ids = ids(self.rows.user_id, history.user_id)
        watched = [video for seq in history.watch_seq for video in seq]
        self.video_ids = ids(self.rows.video_id, videos.video_id, watched)
        self.user = self.rows.user_id.map(self.user_ids).values
        self.video = self.rows.video_id.map(self.video_ids).values
        self.users = users.set_index("user_id").reindex(list(self.user_ids))
        self.videos = videos.set_index("video_id").reindex(list(self.video_ids))
        self.history = history.assign(user=history.user_id.map(self.user_ids))
        code = lambda column: pd.factorize(self.videos[column].astype(str), use_na_sentinel=False)[0]
        self.author, self.music, self.tag = code("author_id"), code("music_id"), code("tag")
        self.kind, self.upload = code("video_type"), code("upload_type")
        self.watch_s = self.rows.play_time_ms.values / 1000

    def labels(self):
        return {head: self.rows[column].values.astype(float) for head, column in HEADS.items()}

    def earlier(self, key, value):
        """Sum of `value` over the rows of the same key on strictly earlier days."""
        key, total = pd.factorize(key)[0], None
        out, total = np.zeros(len(key)), np.zeros(key.max() + 1)
        for day in np.unique(self.day):
            now = self.day == day
            out[now] = total[key[now]]
            total += np.bincount(key[now], value[now], len(total))
        return out


def pairs(data, column):
    people = np.repeat(data.history.user.values, data.history[column].map(len))
    clips = np.concatenate([np.asarray(seq, dtype=np.int64) for seq in data.history[column]])
    return people, pd.Series(clips).map(data.video_ids).values


def joined(*keys):
    out = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        out = out * (int(np.max(key)) + 2) + np.asarray(key, dtype=np.int64)
    return out


def smoothed_rates(data):
    train = ~data.is_test
    logit = lambda p: np.log(p / (1 - p))

    def rate(key, y, prior, overall):
        key = pd.factorize(key)[0]
        n = np.bincount(key[train], minlength=key.max() + 1)
        return ((np.bincount(key[train], y[train], key.max() + 1) + prior * overall) / (n + prior))[key]

    scores = {}
    for head, y in data.labels().items():
        mean = y[train].mean()
        parts = ((data.user, 10), (data.video, 20), (data.rows.tab.values, 20))
        scores[head] = sum(logit(rate(key, y, prior, mean).clip(1e-5, 1 - 1e-5)) for key, prior in parts)[data.is_test]
    log_watch = np.log1p(data.watch_s)
    mean = log_watch[train].mean()
    watch = sum(rate(key, log_watch, prior, mean) - mean for key, prior in ((data.user, 10), (data.video, 20)))
    return scores, np.expm1(np.maximum(watch + mean, 0))[data.is_test]


def features(data):
    """Rates of earlier days and of histories, attributes, and the moment."""
    rows, video, user = data.rows, data.video, data.user
    duration = rows.duration_ms.values.astype(float)
    edges = np.quantile(duration[~data.is_test], np.arange(1, 10) / 10)
    bucket = np.searchsorted(edges, duration)
    hour = ((rows.time_ms + CHINA_MS) // 3_600_000 % 24).values
    out = {"tab": rows.tab.values, "hour": hour, "duration": duration}
    for name, column in data.videos.items():
        if pd.api.types.is_numeric_dtype(column) and name not in ("author_id", "music_id"):
            out[f"video_{name}"] = column.values[video]
    out |= {"tag": data.tag[video], "kind": data.kind[video], "upload": data.upload[video]}
    for name, column in data.users.items():
        numeric = pd.api.types.is_numeric_dtype(column)
        out[f"user_{name}"] = (column.values if numeric else pd.factorize(column, use_na_sentinel=False)[0])[user]

    # Histories: long views and likes a watch.
    people, clips = pairs(data, "watch_seq")
    marks = {}
    for name, column in (("long", "long_watch_seq"), ("like", "like_seq")):
        marked = set(zip(*pairs(data, column)))
        marks[name] = np.array([pair in marked for pair in zip(people, clips)], dtype=float)
    clip_bucket = np.searchsorted(edges, data.videos.video_duration.fillna(0).values)
    groups = {"video": (clips, video, 20), "author": (data.author[clips], data.author[video], 20),
              "music": (data.music[clips], data.music[video], 20), "tag": (data.tag[clips], data.tag[video], 50),
              "person": (people, user, 5)}
    for name, (key, of_row, prior) in groups.items():
        size = int(max(key.max(), of_row.max())) + 1
        n = np.bincount(key, minlength=size)
        out[f"history_{name}_n"] = n[of_row]
        for mark, y in marks.items():
            out[f"history_{name}_{mark}"] = ((np.bincount(key, y, size) + prior * y.mean()) / (n + prior))[of_row]
    expected = out_of(marks["long"], clips, 20)
    both = {"tag": (data.tag[clips], data.tag[video]), "kind": (data.kind[clips], data.kind[video]),
            "upload": (data.upload[clips], data.upload[video]), "author": (data.author[clips], data.author[video]),
            "bucket": (clip_bucket[clips], bucket)}
    for name, (key, of_row) in both.items():
        width = int(max(key.max(), of_row.max())) + 1
        of_pair = pd.DataFrame({"k": people * width + key, "r": marks["long"] - expected}).groupby("k").r.agg(["size", "sum"])
        found = of_pair.reindex(user * width + of_row).fillna(0)
        out[f"history_person_{name}_n"] = found["size"].values
        out[f"history_person_{name}_long"] = found["sum"].values / (found["size"].values + 3)
    for name, column in (("length", "history_len"), ("last", "last_time_ms")):
        if column in data.history:
            out[f"history_{name}"] = data.history.set_index("user")[column].reindex(user).values

    # Clips of the history that share an audience with this one.
    seen = np.zeros((len(data.user_ids), len(data.video_ids)), dtype=np.float32)
    seen[people, clips] = 1
    together = seen.T @ seen
    size = np.sqrt(together.diagonal() + 5)
    together /= size[:, None] * size[None, :]
    np.fill_diagonal(together, 0)
    lists = [[] for _ in data.user_ids]
    for person, clip, residual in zip(people, clips, marks["long"] - expected):
        lists[person].append((clip, residual))
    near = np.zeros((len(user), 3))
    for row, (person, clip) in enumerate(zip(user, video)):
        if lists[person]:
            others, residual = map(np.array, zip(*lists[person]))
            weight = together[clip, others.astype(int)]
            near[row] = weight.mean(), weight.max(), (weight * residual).sum() / (weight.sum() + 0.3)
    out |= {"near_mean": near[:, 0], "near_max": near[:, 1], "near_long": near[:, 2]}

    # Earlier days: what was beyond that of the surface and duration.
    signals = data.labels() | {"watch": np.log1p(data.watch_s)}
    context, one = joined(rows.tab.values, bucket), np.ones(len(user))
    n = data.earlier(context, one)
    groups = {"user": (user,), "video": (video,), "author": (data.author[video],), "music": (data.music[video],),
              "tag": (data.tag[video],), "user_tab": (user, rows.tab.values), "video_tab": (video, rows.tab.values),
              "user_tag": (user, data.tag[video]), "user_bucket": (user, bucket), "user_author": (user, data.author[video]),
              "user_video": (user, video), "hour": (rows.tab.values, hour)}
    counts = {name: data.earlier(joined(*key), one) for name, key in groups.items()}
    for signal, y in signals.items():
        overall = data.earlier(0 * user, y) / np.maximum(data.earlier(0 * user, one), 1)
        usual = (data.earlier(context, y) + 30 * overall) / (n + 30)
        out[f"context_{signal}"] = usual
        for name, key in groups.items():
            prior = 4 if name.startswith("user") else 15
            out[f"{name}_{signal}"] = data.earlier(joined(*key), y - usual) / (counts[name] + prior)
    out |= {f"{name}_n": count for name, count in counts.items()}
    return pd.DataFrame({name: np.asarray(value, dtype=np.float32) for name, value in out.items()})


def out_of(y, key, prior):
    n = np.bincount(key)
    return ((np.bincount(key, y) + prior * y.mean()) / (n + prior))[key]


def boosted_trees(data, seed):
    x, train = features(data).values, ~data.is_test
    settings = {"learning_rate": 0.03, "num_leaves": 15, "min_data_in_leaf": 150, "feature_fraction": 0.25,
                "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 20, "verbose": -1, "seed": seed}

    def fit(objective, y, rounds, **other):
        model = lightgbm.train({"objective": objective, **settings, **other}, lightgbm.Dataset(x[train], y[train]), rounds)
        return model.predict(x[data.is_test])

    scores = {head: fit("binary", y, 200 if head == "like" else 300) for head, y in data.labels().items()}
    return scores, fit("l1", data.watch_s, 300, num_leaves=31, min_data_in_leaf=60)


class Din(nn.Module):
    """DIN's attention over the history, MMoE's experts, a tower a head."""

    def __init__(self, data, width=32, experts=3):
        super().__init__()
        last = len(data.video_ids)
        self.video = nn.Embedding(last + 1, width, padding_idx=last)
        self.names = nn.ModuleList(nn.Embedding(int(c.max()) + 2, width) for c in (data.author, data.tag))
        self.user, self.tab = nn.Embedding(len(data.user_ids), width), nn.Embedding(32, width)
        self.marks = nn.Linear(2, width, bias=False)
        for embedding in (self.video, self.user, self.tab, *self.names):
            nn.init.normal_(embedding.weight, 0, 0.02)
        self.attention = nn.Sequential(nn.Linear(4 * width, 36), nn.PReLU(), nn.Linear(36, 1))
        inputs = 5 * width + 1
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU()) for _ in range(experts))
        self.gates = nn.ModuleList(nn.Linear(inputs, experts) for _ in range(4))
        self.towers = nn.ModuleList(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)) for _ in range(4))
        self.register_buffer("author", torch.tensor(np.append(data.author, data.author.max() + 1)))
        self.register_buffer("tag", torch.tensor(np.append(data.tag, data.tag.max() + 1)))

    def clip(self, video):
        return self.video(video) + self.names[0](self.author[video]) + self.names[1](self.tag[video])

    def forward(self, user, video, tab, duration, past, marks, absent):
        target, items = self.clip(video), self.clip(past) + self.marks(marks)
        wide = target[:, None].expand_as(items)
        weight = self.attention(torch.cat([items, wide, items - wide, items * wide], 2)).squeeze(2)
        weight = weight.masked_fill(absent, -1e9).softmax(1) * (~absent)
        interest = (weight[..., None] * items).sum(1)
        x = torch.cat([self.user(user), target, interest, interest * target, self.tab(tab), duration[:, None]], 1)
        answers = torch.stack([expert(x) for expert in self.experts], 1)
        mixed = [(gate(x).softmax(1)[..., None] * answers).sum(1) for gate in self.gates]
        return torch.cat([tower(m) for tower, m in zip(self.towers, mixed)], 1)


def din(data, seed, batch=256):
    torch.manual_seed(seed)
    last = len(data.video_ids)
    past = np.full((len(data.user_ids), HISTORY), last)
    marks = np.zeros((len(data.user_ids), HISTORY, 2), dtype=np.float32)
    for person, *lists in data.history[["user", "watch_seq", "long_watch_seq", "like_seq"]].itertuples(index=False):
        clips = list(lists[0])[-HISTORY:]
        past[person, : len(clips)] = [data.video_ids[clip] for clip in clips]
        for mark in (0, 1):
            chosen = set(lists[mark + 1])
            marks[person, : len(clips), mark] = [clip in chosen for clip in clips]
    past, marks = torch.tensor(past), torch.tensor(marks)
    user, video = torch.tensor(data.user), torch.tensor(data.video)
    tab = torch.tensor(data.rows.tab.values.astype(np.int64).clip(0, 31))
    duration = torch.tensor(np.log1p(data.rows.duration_ms.values.astype(np.float32) / 1000) / 4)
    wanted = torch.tensor(np.stack(list(data.labels().values()), 1), dtype=torch.float32)
    watch = torch.tensor(np.log1p(data.watch_s), dtype=torch.float32)
    model = Din(data)
    forward = lambda at: model(user[at], video[at], tab[at], duration[at], past[user[at]], marks[user[at]], past[user[at]] == last)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2)
    order = torch.tensor(np.random.default_rng(seed).permutation(np.flatnonzero(~data.is_test)))
    for at in order.split(batch):
        output = forward(at)
        loss = F.binary_cross_entropy_with_logits(output[:, :3], wanted[at]) + 0.1 * F.l1_loss(output[:, 3], watch[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        output = torch.cat([forward(at) for at in torch.tensor(np.flatnonzero(data.is_test)).split(1024)]).numpy()
    scores = {head: output[:, at] for at, head in enumerate(HEADS)}
    return scores, np.expm1(output[:, 3].clip(0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("train", "test"):
        parser.add_argument(f"--{name}", nargs="+", required=True)
    for name in ("history", "users", "videos"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    data = Data(args)
    test = data.rows[data.is_test]
    peers = {"smoothed_rates": smoothed_rates(data), "lightgbm": boosted_trees(data, args.seed), "din": din(data, args.seed)}
    print(json.dumps({name: figures(test, *answer) for name, answer in peers.items()}, indent=2))


if __name__ == "__main__":
    main()
