"""The report: one HTML page with all figures, all claims, and how they were made."""
