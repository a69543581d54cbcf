"""What `reproduce benchmark` measures, and how."""
