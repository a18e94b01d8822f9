"""Synthetic clips with perfect masks: things cut out, drawn or borrowed, moved over pictures.

`SyntheticClips` paints them; `CutOuts`, `Actors`, `Disguises`, `Shapes`, `Glyphs` and `Assemblies`
of those supply the things.
"""

from masklet.data.synthetic.assemblies import Assemblies
from masklet.data.synthetic.glyphs import Glyphs
from masklet.data.synthetic.scenes import SceneRange, SyntheticClips
from masklet.data.synthetic.shapes import Disguises, Shapes
from masklet.data.synthetic.sprites import Actors, CutOuts

__all__ = ["Actors", "Assemblies", "CutOuts", "Disguises", "Glyphs", "SceneRange", "Shapes", "SyntheticClips"]
