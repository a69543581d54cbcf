"""Checks of the paper's claims: statistics that stand for statements about pictures, and the verdicts they lead to."""
