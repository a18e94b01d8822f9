"""Pictures, clips and masks in and out: readers, writers and drawing."""
