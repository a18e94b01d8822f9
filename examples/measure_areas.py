"""Write a table of what was tracked: the area and the box of every object on every frame, as CSV.

    python examples/measure_areas.py out/clip/masklets.json areas.csv

Any other file or folder of annotations that masklet reads will do in place of `masklets.json`.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from masklet.io.formats import read_annotations
from masklet.ops.boxes import mask_boxes

COLUMNS = ("clip", "frame", "object", "area", "left", "top", "right", "bottom")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("table", type=Path)
    options = parser.parse_args()

    annotations = read_annotations(options.annotations)
    with open(options.table, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for frame, found in annotations.all_masks():
            mask = found.mask
            box = (int(edge) for edge in mask_boxes(mask))
            table.writerow((frame.clip or "", frame.name, found.object_id, int(mask.sum()), *box))
    print(f"{options.table}: {annotations.num_masks} masks on {len(annotations.frames)} frames")


if __name__ == "__main__":
    main()
