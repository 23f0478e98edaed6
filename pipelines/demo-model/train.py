"""Trains the demo model: a small detector for the test scenes, in the layout of YOLOX.

    make demo-model          # or: python train.py --renderer PATH/TO/examples/render --out demo.onnx

The data is rendered while training (plugins/testscene/examples/render.rs), nothing is downloaded, and seeds are fixed. The
evaluation at the end runs the written ONNX file on seeds that training never saw.
"""

import argparse
import functools
import os
import subprocess
import threading
import time
from queue import Queue

# One core: training is a guest on the machine.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 256
NAMES = ["person", "car"]
BOXES = 16
STRIDES = (8, 16, 32)
# Longest side of the boxes each stride answers for, in pixels of the input. They overlap, so that a figure on the
# border between two is found by either.
RANGES = ((0.0, 56.0), (42.0, 124.0), (96.0, 1e9))
HELD_OUT = 1_000_000

# name, channels in, channels out, kernel, stride, normalised and rectified. "+" adds the input (a residual).
TRUNK = [
    ("stem", 3, 16, 3, 2),
    ("down4", 16, 24, 3, 2),
    ("down8", 24, 40, 3, 2),
    ("mix8+", 40, 40, 3, 1),
    ("down16", 40, 56, 3, 2),
    ("mix16+", 56, 56, 3, 1),
    ("down32", 56, 64, 3, 2),
    ("mix32+", 64, 64, 3, 1),
]
# After which layer of the trunk each head sits, and its width.
HEADS = [("head8", "mix8+", 40, 32), ("head16", "mix16+", 56, 48), ("head32", "mix32+", 64, 48)]


# ---------------------------------------------------------------------------------------------------- data


def samples(renderer, first_seed, seeds, scene):
    """Yields (picture [SIZE, SIZE, 3] uint8 RGB, boxes [BOXES, 6]) from the renderer."""
    command = [renderer, "samples", str(first_seed), str(seeds), str(SIZE), scene]
    pixels, record = SIZE * SIZE * 3, SIZE * SIZE * 3 + BOXES * 24
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=1 << 22) as process:
        while True:
            data = process.stdout.read(record)
            if len(data) < record:
                break
            yield (
                np.frombuffer(data, np.uint8, pixels).reshape(SIZE, SIZE, 3),
                np.frombuffer(data, np.float32, offset=pixels).reshape(BOXES, 6),
            )
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")


def batches(renderer, steps, batch, rng):
    """Shuffled, augmented batches from a reservoir, so that a batch does not show one scene only."""
    source = samples(renderer, 1, 10**6, "mixed")
    reservoir = [next(source) for _ in range(512)]
    for _ in range(steps):
        pictures, boxes = [], []
        for _ in range(batch):
            place = rng.integers(len(reservoir))
            sample = reservoir[place]
            reservoir[place] = next(source)
            if rng.random() < 0.2:
                sample = tiles([sample] + [reservoir[other] for other in rng.integers(len(reservoir), size=3)])
            picture, box = augment(*sample, rng)
            pictures.append(picture)
            boxes.append(box)
        yield np.stack(pictures), np.stack(boxes)
    source.close()


def tiles(four):
    """Four samples on one input, as the detector packs small regions."""
    half = SIZE // 2
    picture = np.empty((SIZE, SIZE, 3), np.uint8)
    everyone = []
    for index, (tile, boxes) in enumerate(four):
        y, x = index // 2 * half, index % 2 * half
        small = tile.reshape(half, 2, half, 2, 3).mean((1, 3))
        picture[y : y + half, x : x + half] = small
        boxes = boxes[boxes[:, 0] >= 0].copy()
        boxes[:, 1:5] = boxes[:, 1:5] / 2 + (x, y, x, y)
        everyone.append(boxes)
    everyone = np.concatenate(everyone)[-BOXES:]
    nobody = np.full((BOXES - len(everyone), 6), -1, np.float32)
    return picture, np.concatenate([everyone, nobody]).astype(np.float32)


def augment(picture, boxes, rng):
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
        boxes = boxes.copy()
        boxes[:, [1, 3]] = SIZE - boxes[:, [3, 1]]
    if rng.random() < 0.5:  # RGB or BGR: the model shall not care
        picture = picture[:, :, ::-1]
    if rng.random() < 0.15:  # night
        picture = np.repeat(picture.mean(2, keepdims=True).astype(np.uint8), 3, 2)
    if rng.random() < 0.7:
        table = (np.arange(256) - 114.0) * rng.uniform(0.65, 1.35) + 114.0 + rng.uniform(-25, 25)
        picture = np.clip(table, 0, 255).astype(np.uint8)[picture]
    return picture, boxes


def prefetch(iterator, depth=6):
    queue, end = Queue(depth), object()

    def work():
        for item in iterator:
            queue.put(item)
        queue.put(end)

    threading.Thread(target=work, daemon=True).start()
    while (item := queue.get()) is not end:
        yield item


# --------------------------------------------------------------------------------------------------- model


def convolutions():
    """All convolutions: (name, in, out, kernel, stride)."""
    yield from TRUNK
    for head, _, channels, width in HEADS:
        yield (head, channels, width, 3, 1)


def initial(rng):
    weights, running = {}, {}
    for name, cin, cout, kernel, _ in convolutions():
        weights[name] = {
            "w": rng.normal(0, np.sqrt(2 / (cin * kernel * kernel)), (kernel, kernel, cin, cout)).astype(np.float32),
            "scale": np.ones(cout, np.float32),
            "shift": np.zeros(cout, np.float32),
        }
        running[name] = {"mean": np.zeros(cout, np.float32), "var": np.ones(cout, np.float32)}
    for head, _, _, width in HEADS:
        shift = np.zeros(5 + len(NAMES), np.float32)
        shift[4] = -4.6  # one cell in a hundred holds something
        weights[head + "out"] = {"w": rng.normal(0, 0.01, (width, 5 + len(NAMES))).astype(np.float32), "shift": shift}
    return weights, running


def forward(weights, x):
    """Raw predictions [B, N, 5 + C] of pictures [B, SIZE, SIZE, 3] in 0..255, and the batch's statistics."""
    statistics = {}

    def block(x, name, stride):
        layer = weights[name]
        x = jax.lax.conv_general_dilated(
            x, layer["w"], (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        statistics[name] = {"mean": mean, "var": var}
        return jax.nn.relu((x - mean) * jax.lax.rsqrt(var + 1e-5) * layer["scale"] + layer["shift"])

    x = x * (1 / 64)
    taps = {}
    for name, _, _, _, stride in TRUNK:
        y = block(x, name, stride)
        x = taps[name] = x + y if name.endswith("+") else y
    outputs = []
    for head, tap, _, _ in HEADS:
        y = block(taps[tap], head, 1) @ weights[head + "out"]["w"] + weights[head + "out"]["shift"]
        outputs.append(y.reshape(y.shape[0], -1, y.shape[-1]))
    return jnp.concatenate(outputs, 1), statistics


def grid():
    """Per cell: its column, its row and its stride, and the range of sizes it answers for."""
    cells = []
    for stride, (low, high) in zip(STRIDES, RANGES):
        side = SIZE // stride
        rows, columns = np.mgrid[:side, :side]
        for row, column in zip(rows.ravel(), columns.ravel()):
            cells.append((column, row, stride, low, high))
    return np.array(cells, np.float32)


GRID = grid()


def targets(boxes):
    """What each cell shall say about a sample's boxes [BOXES, 6]: whether it is sure, which box it gives (or -1), and
    whether it is left alone about being sure."""
    column, row, stride, low, high = (GRID[:, None, i] for i in range(5))
    cls, x1, y1, x2, y2, visible = (boxes[None, :, i] for i in range(6))
    width, height = x2 - x1, y2 - y1
    there = cls >= 0
    clear = there & (visible >= 0.35) & (jnp.maximum(width, height) >= 12) & (jnp.minimum(width, height) >= 4)
    px, py = (column + 0.5) * stride, (row + 0.5) * stride
    dx, dy = jnp.abs(px - (x1 + x2) / 2), jnp.abs(py - (y1 + y2) / 2)
    rx = jnp.clip(0.4 * width, 0.501 * stride, stride)
    ry = jnp.clip(0.4 * height, 0.501 * stride, stride)
    longest = jnp.maximum(width, height)
    fits = (longest >= low) & (longest < high)
    positive = clear & fits & (dx < rx) & (dy < ry)
    # Cells next to the middle, cells of a neighbouring size, and all of what can hardly be seen may be as sure as they
    # like, but the first two must say the right box: a doubled figure is suppressed only if both boxes fit.
    near = clear & (dx < rx + 0.5 * stride) & (dy < ry + 0.5 * stride) & (longest >= low * 0.7) & (longest < high * 1.4)
    unclear = there & ~clear & (px > x1 - stride / 2) & (px < x2 + stride / 2) & (py > y1 - stride / 2) & (py < y2 + stride / 2)
    # Boxes come from back to front: the one in front wins the cell.
    order = jnp.arange(BOXES)[None]
    which = jnp.max(jnp.where(positive, order, -1), 1)
    boxed = jnp.where(which >= 0, which, jnp.max(jnp.where(near, order, -1), 1))
    alone = (near | unclear).any(1) & (which < 0)
    return which >= 0, boxed, alone


def loss_of(weights, pictures, boxes):
    raw, statistics = forward(weights, pictures)
    sure, boxed, alone = jax.vmap(targets)(boxes)
    chosen = jnp.take_along_axis(boxes, jnp.maximum(boxed, 0)[..., None], 1)
    sure, boxed = sure.astype(jnp.float32), (boxed >= 0).astype(jnp.float32)
    count, box_count = jnp.maximum(sure.sum(), 1.0), jnp.maximum(boxed.sum(), 1.0)

    bce = lambda logit, target: jnp.maximum(logit, 0) - logit * target + jnp.log1p(jnp.exp(-jnp.abs(logit)))
    objectness = (bce(raw[..., 4], sure) * (1 - alone)).sum() / count
    kinds = jax.nn.one_hot(chosen[..., 0].astype(int), len(NAMES))
    kind = (bce(raw[..., 5:], kinds).sum(-1) * boxed).sum() / box_count

    column, row, stride = GRID[:, 0], GRID[:, 1], GRID[:, 2]
    _, x1, y1, x2, y2, _ = jnp.moveaxis(chosen, -1, 0)
    want = jnp.stack([
        (x1 + x2) / 2 / stride - column,
        (y1 + y2) / 2 / stride - row,
        jnp.log(jnp.maximum(x2 - x1, 1.0) / stride),
        jnp.log(jnp.maximum(y2 - y1, 1.0) / stride),
    ], -1)
    straight = (jnp.abs(raw[..., :4] - want).sum(-1) * boxed).sum() / box_count
    cx, cy = (raw[..., 0] + column) * stride, (raw[..., 1] + row) * stride
    w, h = (jnp.exp(jnp.minimum(raw[..., i], 6.0)) * stride for i in (2, 3))
    iw = jnp.minimum(cx + w / 2, x2) - jnp.maximum(cx - w / 2, x1)
    ih = jnp.minimum(cy + h / 2, y2) - jnp.maximum(cy - h / 2, y1)
    common = jnp.maximum(iw, 0) * jnp.maximum(ih, 0)
    iou = common / (w * h + (x2 - x1) * (y2 - y1) - common + 1e-6)
    overlap = ((1 - iou) * boxed).sum() / box_count
    return objectness + kind + 0.5 * straight + 3.0 * overlap, (statistics, objectness, kind, overlap)


@functools.partial(jax.jit, donate_argnums=0)
def step(state, pictures, boxes, rate):
    gradient, (statistics, *parts) = jax.grad(loss_of, has_aux=True)(
        state["weights"], pictures.astype(jnp.float32), boxes
    )
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, 10.0 / (norm + 1e-6)), gradient)
    count = state["count"] + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["m"], gradient)
    v = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, state["v"], gradient)
    unbias = jnp.sqrt(1 - 0.99**count) / (1 - 0.9**count)

    def move(w, m, v):
        decay = 1e-4 * w if w.ndim > 1 else 0.0
        return w - rate * (m * unbias / (jnp.sqrt(v) + 1e-8) + decay)

    weights = jax.tree.map(move, state["weights"], m, v)
    # What is kept is a running mean of the weights: it is steadier than the last step.
    keep = jnp.minimum(0.995, count / (count + 10.0))
    blend = lambda old, new: keep * old + (1 - keep) * new
    return {
        "weights": weights,
        "m": m,
        "v": v,
        "count": count,
        "mean_weights": jax.tree.map(blend, state["mean_weights"], weights),
        "running": jax.tree.map(blend, state["running"], statistics),
    }, parts


def train(renderer, steps, batch):
    rng = np.random.default_rng(1)
    weights, running = initial(rng)
    weights, running = jax.tree.map(jnp.asarray, (weights, running))
    copy = lambda tree: jax.tree.map(jnp.array, tree)
    nothing = lambda: jax.tree.map(jnp.zeros_like, weights)
    state = {
        "weights": weights, "m": nothing(), "v": nothing(), "count": jnp.zeros(()),
        "mean_weights": copy(weights), "running": running,
    }
    begin = time.time()
    for index, (pictures, boxes) in enumerate(prefetch(batches(renderer, steps, batch, rng))):
        rate = 3e-3 * min(1.0, (index + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * index / steps)) + 1e-5
        state, parts = step(state, pictures, boxes, rate)
        if index % 50 == 0 or index == steps - 1:
            objectness, kind, overlap = (float(part) for part in parts)
            print(
                f"step {index:5d}/{steps}  object {objectness:.3f}  class {kind:.3f}  1-IoU {overlap:.3f}  "
                f"{time.time() - begin:.0f} s",
                flush=True,
            )
    return jax.tree.map(np.asarray, (state["mean_weights"], state["running"]))


# -------------------------------------------------------------------------------------------------- export


def export(weights, running, path):
    """Writes the graph by hand: convolutions with the normalisation folded in, and sigmoid on score channels."""
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def convolution(source, name, w, bias, stride, pad, rectified):
        kernel = w.transpose(3, 2, 0, 1).astype(np.float32)
        inputs = [source, constant(name + ".w", kernel), constant(name + ".b", bias.astype(np.float32))]
        nodes.append(helper.make_node(
            "Conv", inputs, [name], name, kernel_shape=kernel.shape[2:], strides=[stride] * 2, pads=[pad] * 4
        ))
        if rectified:
            nodes.append(helper.make_node("Relu", [name], [name + ".relu"]))
            return name + ".relu"
        return name

    def block(source, name, stride, input_scale=1.0):
        layer, seen = weights[name], running[name]
        factor = layer["scale"] / np.sqrt(seen["var"] + 1e-5)
        bias = layer["shift"] - seen["mean"] * factor
        return convolution(source, name.rstrip("+"), layer["w"] * factor * input_scale, bias, stride, 1, True)

    x, taps = "images", {}
    for name, _, _, _, stride in TRUNK:
        y = block(x, name, stride, 1 / 64 if name == "stem" else 1.0)
        if name.endswith("+"):
            nodes.append(helper.make_node("Add", [x, y], [name + "sum"]))
            y = name + "sum"
        x = taps[name] = y
    channels = 5 + len(NAMES)
    shape = constant("flat", np.array([0, channels, -1], np.int64))
    flat = []
    for head, tap, _, _ in HEADS:
        y = block(taps[tap], head, 1)
        out = weights[head + "out"]
        y = convolution(y, head + ".out", out["w"][None, None], out["shift"], 1, 0, False)
        nodes.append(helper.make_node("Reshape", [y, shape], [head + ".flat"]))
        flat.append(head + ".flat")
    nodes.append(helper.make_node("Concat", flat, ["all"], axis=2))
    nodes.append(helper.make_node("Transpose", ["all"], ["cells"], perm=[0, 2, 1]))
    split = constant("split", np.array([4, channels - 4], np.int64))
    nodes.append(helper.make_node("Split", ["cells", split], ["where", "scores"], axis=2))
    nodes.append(helper.make_node("Sigmoid", ["scores"], ["likely"]))
    nodes.append(helper.make_node("Concat", ["where", "likely"], ["output"], axis=2))

    graph = helper.make_graph(
        nodes,
        "watchpost-demo",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", len(GRID), channels])],
        constants,
    )
    model = helper.make_model(
        graph, producer_name="watchpost demo-model/train.py", opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    helper.set_model_props(model, {"names": str(dict(enumerate(NAMES))), "task": "detect"})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


# ---------------------------------------------------------------------------------------------- evaluation


def detect(session, pictures, threshold):
    """Per picture the detections [n, 6]: class, score, corners; after suppression of doubles."""
    tensor = np.ascontiguousarray(pictures[:, :, :, ::-1].transpose(0, 3, 1, 2), np.float32)
    found = []
    for out in session.run(None, {"images": tensor})[0]:
        scores = out[:, 4:5] * out[:, 5:]
        kind, score = scores.argmax(1), scores.max(1)
        centre = (out[:, :2] + GRID[:, :2]) * GRID[:, 2:3]
        half = np.exp(out[:, 2:4]) * GRID[:, 2:3] / 2
        all_found = np.concatenate([kind[:, None], score[:, None], centre - half, centre + half], 1)
        all_found = all_found[score >= threshold]
        kept = []
        for one in all_found[np.argsort(-all_found[:, 1])]:
            if all(one[0] != other[0] or iou(one[2:], other[2:]) < 0.5 for other in kept):
                kept.append(one)
        found.append(np.array(kept).reshape(-1, 6))
    return found


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def evaluate(renderer, path, seeds):
    """Precision and recall at score 0.5 and IoU 0.5, and average precision, on scenes training never saw.

    Wanted are figures at least 16 pixels high of which (by boxes) at least half can be seen; finding others, or what
    is there of them, counts neither way.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    print(f"\n{path}: {os.path.getsize(path) / 1024:.0f} KiB")
    single = np.zeros((1, 3, SIZE, SIZE), np.float32)
    session.run(None, {"images": single})
    times = []
    for _ in range(50):
        begin = time.perf_counter()
        session.run(None, {"images": single})
        times.append(time.perf_counter() - begin)
    print(f"one input on one core: median {np.median(times) * 1000:.1f} ms, best {min(times) * 1000:.1f} ms")

    for scene in ("walkers", "parking", "empty"):
        results, wanted, scores = [], {0: 0, 1: 0}, []
        data = list(samples(renderer, HELD_OUT, seeds, scene))
        for begin in range(0, len(data), 32):
            part = data[begin : begin + 32]
            for (_, boxes), found in zip(part, detect(session, np.stack([p for p, _ in part]), 0.05)):
                boxes = boxes[boxes[:, 0] >= 0]
                clear = (boxes[:, 5] >= 0.5) & (boxes[:, 4] - boxes[:, 2] >= 16) & (boxes[:, 3] - boxes[:, 1] >= 5)
                for kind in (0, 1):
                    wanted[kind] += int((clear & (boxes[:, 0] == kind)).sum())
                taken = np.zeros(len(boxes), bool)
                for kind, score, *corners in found:
                    ious = [iou(corners, b[1:5]) if b[0] == kind and not t else 0.0 for b, t in zip(boxes, taken)]
                    best = int(np.argmax(ious)) if ious else -1
                    if best >= 0 and ious[best] >= 0.5:
                        taken[best] = True
                        if not clear[best]:
                            continue
                        scores.append(score)
                        results.append((kind, score, True))
                    elif not any(iou(corners, b[1:5]) > 0.1 for b, c in zip(boxes, clear) if not c):
                        results.append((kind, score, False))
        print(f"{scene}: {len(data)} pictures of {seeds} held-out seeds")
        for kind, name in enumerate(NAMES):
            mine = sorted((-score, good) for k, score, good in results if k == kind)
            good = np.array([g for _, g in mine], bool)
            sure = np.array([-s for s, _ in mine]) >= 0.5
            if not wanted[kind]:
                print(f"  {name:6s} none there, {int(sure.sum())} found at 0.5")
                continue
            recall = good.cumsum() / wanted[kind]
            precision = good.cumsum() / np.arange(1, len(good) + 1)
            envelope = np.maximum.accumulate(precision[::-1])[::-1]
            ap = float(np.sum(np.diff(np.concatenate([[0], recall])) * envelope))
            hits = int((good & sure).sum())
            print(
                f"  {name:6s} wanted {wanted[kind]:5d}  recall {hits / wanted[kind]:.3f}  "
                f"precision {hits / max(1, int(sure.sum())):.3f}  AP50 {ap:.3f}"
            )
        if scores:
            scores = np.array(scores)
            print(
                f"  scores of what was found: median {np.median(scores):.2f}, 10% below {np.quantile(scores, 0.1):.2f}, "
                f"above 0.7: {np.mean(scores > 0.7):.3f}"
            )


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    target = os.path.join(here, "..", "..", "target", "release", "examples", "render")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renderer", default=os.path.normpath(target))
    parser.add_argument("--out", default=os.path.join(here, "demo.onnx"))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=40, help="held-out seeds of each scene for the evaluation")
    parser.add_argument("--evaluate-only", action="store_true")
    options = parser.parse_args()
    if not options.evaluate_only:
        weights, running = train(options.renderer, options.steps, options.batch)
        export(weights, running, options.out)
    evaluate(options.renderer, options.out, options.seeds)


if __name__ == "__main__":
    main()
