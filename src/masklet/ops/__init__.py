"""Operations on plain arrays: coordinates, boxes, masks, run lengths, connected components."""
