"""A script for the official package, with nothing changed but `sam2.` to `masklet.sam2.` in its imports.

    python examples/official_names.py configs/sam2.1/sam2.1_hiera_t.yaml sam2.1_hiera_tiny.pt photo.jpg clip.mp4

It does what the official README shows: masks in a picture from a click, then an object carried through a clip.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from PIL import Image

from masklet.sam2.build_sam import build_sam2, build_sam2_video_predictor
from masklet.sam2.sam2_image_predictor import SAM2ImagePredictor


def main() -> None:
    if len(sys.argv) < 5:
        raise SystemExit(__doc__)
    model_cfg, checkpoint, picture, clip, *overrides = sys.argv[1:]
    image = np.array(Image.open(picture).convert("RGB"))
    middle = np.array([[image.shape[1] / 2, image.shape[0] / 2]], dtype=np.float32)
    yes = np.array([1], np.int32)

    predictor = SAM2ImagePredictor(build_sam2(model_cfg, checkpoint, hydra_overrides_extra=overrides))
    with torch.inference_mode():
        predictor.set_image(image)
        masks, scores, logits = predictor.predict(point_coords=middle, point_labels=yes, multimask_output=True)
        best = np.argmax(scores)
        masks, scores, _ = predictor.predict(
            point_coords=middle, point_labels=yes, mask_input=logits[best][None], multimask_output=False
        )
    print(f"picture: {int(masks.sum())} pixels, score {scores[0]:.2f}")

    video_predictor = build_sam2_video_predictor(model_cfg, checkpoint, hydra_overrides_extra=overrides)
    with torch.inference_mode():
        state = video_predictor.init_state(clip)
        point = np.array([[state["video_width"] / 2, state["video_height"] / 2]], dtype=np.float32)
        frame_idx, object_ids, masks = video_predictor.add_new_points_or_box(state, 0, 1, points=point, labels=yes)
        for frame_idx, object_ids, masks in video_predictor.propagate_in_video(state):
            areas = {number: int((mask > 0).sum()) for number, mask in zip(object_ids, masks, strict=True)}
            print(f"frame {frame_idx}: {areas}")
        video_predictor.reset_state(state)


if __name__ == "__main__":
    main()
