"""Operations on plain arrays and tensors: coordinates, boxes, masks, run lengths, connected components."""
