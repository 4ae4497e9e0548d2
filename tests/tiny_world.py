"""A tiny, randomly initialised open_clip model and small shards: real parts that are quick to run."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.speed.tiny_pairs import caption, write_tar

TINY_CONFIG = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic"},
}


def make_tiny_clip(folder: Path, seed: int = 0) -> str:
    """Write the model in open_clip's local-dir form; returns the name that `--model` takes."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(TINY_CONFIG))
    torch.manual_seed(seed)
    model = open_clip.CLIP(**TINY_CONFIG["model_cfg"])  # type: ignore[arg-type]
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def picture(seed: int, size: tuple[int, int] = (48, 40), form: str = "JPEG") -> bytes:
    """A picture of smooth random colours, as file bytes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(out, form)
    return out.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A small PNG, good in every part, that announces one bit for each of so many pixels and holds zeros."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + -(-width // 8))
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pair_members(key: str, seed: int, extra: Mapping[str, bytes] | None = None) -> list[tuple[str, bytes]]:
    """Members of one good pair."""
    members = [(f"{key}.jpg", picture(seed)), (f"{key}.txt", caption(seed).encode())]
    return members + [(f"{key}.{field}", data) for field, data in (extra or {}).items()]


def make_shards(folder: Path, shards: int = 2, pairs: int = 20) -> list[Path]:
    """Shards `00000.tar`, ... of good pairs with keys unique over all of them."""
    return [
        write_tar(
            folder / f"{s:05d}.tar",
            [m for i in range(pairs) for m in pair_members(f"{s:05d}{i:04d}", 1000 * s + i)],
        )
        for s in range(shards)
    ]
