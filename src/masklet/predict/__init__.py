"""What users call: pictures, clips and streams in, masks out."""
