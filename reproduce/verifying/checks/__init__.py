"""What the claims of claims.yaml measure: one module a subject, found by `reproduce.verifying.registry`."""
