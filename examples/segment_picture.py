"""Click on an object in a picture and save its mask.

    python examples/segment_picture.py photo.jpg 320 240 --out mask.png
"""

from __future__ import annotations

import argparse

from PIL import Image

import masklet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture")
    parser.add_argument("x", type=float)
    parser.add_argument("y", type=float)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--out", default="mask.png")
    options = parser.parse_args()

    predictor = masklet.ImagePredictor(masklet.load(options.model))
    embedding = predictor.embed(options.picture)
    # One click is ambiguous: the model offers three readings, of which the surest is taken.
    found = predictor.predict(embedding, points=[(options.x, options.y)]).best()
    Image.fromarray(found.masks[0, 0]).save(options.out)
    box = found.boxes[0, 0].tolist()
    print(f"predicted IoU {float(found.iou[0, 0]):.2f}, {int(found.areas[0, 0])} pixels, box {box}")


if __name__ == "__main__":
    main()
